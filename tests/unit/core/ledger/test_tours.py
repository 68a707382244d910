"""When a router that fails again and again may leave, and when it stays."""

from itertools import pairwise

import pytest

from gapless.core.ledger.tours import FIRST_S, FORGOTTEN_S, MOST_S, PAUSE_S, STEADY_S, Damping, Tour, Why, cause_of
from gapless.model.host import HostName

H1, H2, H3 = HostName("h1"), HostName("h2"), HostName("h3")


def fail(tour: Tour, host: HostName, now: float, reason: str = "no such device") -> Damping | None:
    """It fails there; if it is not damped, it is moved and active at once."""
    tour.failed(host, reason, now)
    damping = tour.damping(now)
    if damping is None:
        tour.moved(now)
        tour.is_active(now)
    return damping


def swing(tour: Tour, every_s: float, times: int) -> list[float]:
    """It breaks so often, each time after so long, on one of two hosts after the other. When it was moved."""
    moved, host = [], H1
    for number in range(1, times + 1):
        tour.is_active((number - 1) * every_s)
        if fail(tour, host, number * every_s) is None:
            moved.append(number * every_s)
            host = H2 if host == H1 else H1
    return moved


def test_a_router_that_broke_once_is_moved_at_once() -> None:
    assert fail(Tour(), H1, 5) is None


def test_one_that_fails_at_once_for_one_reason_on_two_hosts_stays_for_a_pause() -> None:
    tour = Tour()
    assert fail(tour, H1, 0) is None
    assert fail(tour, H2, 1) == Damping(Why.REASON, 1 + PAUSE_S)
    assert tour.damping(1 + PAUSE_S) is None


def test_hosts_say_the_same_with_other_numbers() -> None:
    tour = Tour()
    assert fail(tour, H1, 0, "create tap7c0e1f2a-11: no route to 192.0.2.1 by eth0") is None
    assert fail(tour, H2, 1, "create tap7c0e1f2a-11: no route to 192.0.2.1 by eth1") is not None
    assert tour.others(H2) == [H1]


def test_another_reason_there_lets_it_go() -> None:
    tour = Tour()
    fail(tour, H1, 0)
    fail(tour, H2, 1)
    assert fail(tour, H2, 2, "no memory") is None


def test_one_that_breaks_slowly_swings_more_and_more_slowly() -> None:
    every_s = 2 * STEADY_S
    moved = swing(Tour(), every_s, 300)
    waits = [later - earlier for earlier, later in pairwise(moved)]
    assert waits[:2] == [every_s] * 2, "three hosts may be broken"
    assert waits[2:5] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert set(waits[5:]) == {MOST_S}, "and never more than once an hour"


def test_why_and_until_when_it_stays() -> None:
    tour = Tour()
    swing(tour, 2 * STEADY_S, 3)
    assert tour.damping(400) == Damping(Why.MOVES, 6 * STEADY_S + FIRST_S)


def test_hours_of_work_are_forgiven_one_by_one() -> None:
    tour = Tour()
    swing(tour, 2 * STEADY_S, 100)
    assert tour.wait_s == MOST_S
    now = 200 * STEADY_S
    tour.is_active(now)
    tour.failed(H1, "no such device", now + 3 * FORGOTTEN_S + 1)
    assert (tour.moves, tour.wait_s) == (3, FIRST_S)
    tour.is_active(now + 4 * FORGOTTEN_S)
    tour.failed(H1, "no such device", now + 9 * FORGOTTEN_S)
    assert (tour.moves, tour.wait_s) == (0, 0.0), "as if it had never broken"


def test_a_new_host_shortens_any_wait() -> None:
    tour = Tour()
    swing(tour, 2 * STEADY_S, 3)
    assert tour.new_host(400)
    assert tour.damping(429) == Damping(Why.MOVES, 430)
    assert tour.damping(430) is None
    assert not tour.new_host(420)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("nft: too many elements", "nft: too many elements"),
        ("create tap12345678-9a and qr-12345678-9a: Exchange full", "create * and * Exchange full"),
        ("this process may have 1,024 at once", "this process may have * at once"),
        ("at 10 20 30: busy", "at * busy"),
        ("", ""),
    ],
)
def test_what_reasons_have_in_common(reason: str, cause: str) -> None:
    assert cause_of(reason) == cause
