"""When most hosts look dead at once."""

import pytest

from gapless.core.planner.brake import Brake, Census
from gapless.model.host import HostName

NOW = 1000.0


def census(heard: int, down: int, *, any_dead: bool = True) -> Census:
    return Census(
        heard=[HostName(f"h{number}") for number in range(heard)],
        down=[HostName(f"d{number}") for number in range(down)],
        any_dead=any_dead and down > 0,
    )


@pytest.mark.parametrize(
    ("heard", "down", "engages"),
    [(1, 1, False), (2, 1, False), (1, 2, True), (2, 2, False), (0, 1, True), (0, 0, False), (4, 5, True)],
)
def test_more_than_half(heard: int, down: int, engages: bool) -> None:
    brake = Brake(0.5, linger_s=75)
    assert brake.judge(census(heard, down), NOW) is engages
    assert brake.engaged is engages


def test_nothing_to_hold_back_while_nobody_is_dead() -> None:
    brake = Brake(0.5, linger_s=75)
    assert not brake.judge(census(1, 4, any_dead=False), NOW)
    assert brake.judge(census(1, 4), NOW)
    assert not brake.judge(census(1, 4, any_dead=False), NOW), "once engaged it stays until the share falls"
    assert brake.engaged


def test_it_says_how_many_and_ends_by_itself() -> None:
    brake = Brake(0.5, linger_s=75)
    brake.judge(census(1, 2), NOW)
    assert brake.hosts == ("d0", "d1")
    assert brake.reason.startswith("2 of 3 hosts look dead at once, more than 50%")
    assert not brake.judge(census(2, 1), NOW), "the other one may come back as well"
    assert brake.engaged
    assert "hosts come back: 1 of 3 look dead now" in brake.reason
    assert not brake.judge(census(2, 1), NOW + 74)
    assert brake.judge(census(2, 1), NOW + 75)
    assert not brake.engaged
    assert brake.hosts == ()
    assert brake.reason == "1 of 3 hosts look dead, not more than 50%"


def test_a_release_is_about_the_hosts_that_look_dead_then() -> None:
    brake = Brake(0.5, linger_s=75)
    brake.judge(census(4, 5), NOW)
    brake.release()
    assert brake.judge(census(4, 5), NOW)
    assert brake.reason == "an operator says that these hosts are dead: d0, d1, d2, d3, d4"
    assert not brake.judge(census(4, 6), NOW), "one of five that count is not more than half"
    assert brake.judge(census(4, 10), NOW), "five of nine are"


def test_a_release_is_about_the_hosts_that_were_seen() -> None:
    brake = Brake(0.5, linger_s=75)
    brake.judge(census(1, 4), NOW)
    brake.release({HostName("d0"), HostName("d1")})
    assert not brake.judge(census(1, 4), NOW), "two of the three that are left look dead"
    assert brake.hosts == ("d2", "d3")
    brake.release({HostName("d2"), HostName("d3")})
    assert brake.judge(census(1, 4), NOW)
    assert brake.reason == "an operator says that these hosts are dead: d2, d3"


def test_a_host_that_is_heard_again_counts_again() -> None:
    brake = Brake(0.5, linger_s=75)
    brake.judge(census(1, 2), NOW)
    brake.release()
    brake.judge(census(1, 2), NOW)
    everybody = Census(heard=[HostName("h0"), HostName("d0"), HostName("d1")], down=[], any_dead=False)
    brake.judge(everybody, NOW)
    assert brake.judge(census(1, 2), NOW)
    assert brake.engaged
