"""When most hosts look dead at once."""

import pytest

from gapless.core.brake import Brake, Census
from gapless.model.host import HostName


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
    brake = Brake(0.5)
    assert brake.judge(census(heard, down)) is engages
    assert brake.engaged is engages


def test_nothing_to_hold_back_while_nobody_is_dead() -> None:
    brake = Brake(0.5)
    assert not brake.judge(census(1, 4, any_dead=False))
    assert brake.judge(census(1, 4))
    assert not brake.judge(census(1, 4, any_dead=False)), "once engaged it stays until the share falls"
    assert brake.engaged


def test_it_says_how_many_and_ends_by_itself() -> None:
    brake = Brake(0.5)
    brake.judge(census(1, 2))
    assert brake.hosts == ("d0", "d1")
    assert brake.reason.startswith("2 of 3 hosts look dead at once, more than 50%")
    assert brake.judge(census(2, 1))
    assert not brake.engaged
    assert brake.hosts == ()
    assert brake.reason == "1 of 3 hosts look dead, not more than 50%"


def test_a_release_is_about_the_hosts_that_look_dead_then() -> None:
    brake = Brake(0.5)
    brake.judge(census(4, 5))
    brake.release()
    assert brake.judge(census(4, 5))
    assert brake.reason == "an operator says that these hosts are dead: d0, d1, d2, d3, d4"
    assert not brake.judge(census(4, 6)), "one of five that count is not more than half"
    assert brake.judge(census(4, 10)), "five of nine are"


def test_a_host_that_is_heard_again_counts_again() -> None:
    brake = Brake(0.5)
    brake.judge(census(1, 2))
    brake.release()
    brake.judge(census(1, 2))
    everybody = Census(heard=[HostName("h0"), HostName("d0"), HostName("d1")], down=[], any_dead=False)
    brake.judge(everybody)
    assert brake.judge(census(1, 2))
    assert brake.engaged
