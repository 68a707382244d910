"""From one incarnation to the next."""

import pytest

from gapless.core.edge.incarnations import Incarnations
from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import NOBODY


def at(incarnation: int) -> Incarnations:
    """A sentinel that has just started, at an incarnation that was never used."""
    return Incarnations(HostName("h1"), Incarnation(incarnation))


def renewing(incarnation: int) -> Incarnations:
    made = at(incarnation)
    assert made.begin()
    assert made.withdrawn() is None
    return made


def test_a_start_withdraws_once_and_then_the_first_incarnation_renews() -> None:
    it = at(4)
    assert it.begin()
    assert not it.begin()
    assert (it.is_renewing, it.reborn) == (False, NOBODY)
    assert it.withdrawn() is None
    assert (it.is_renewing, it.me.incarnation, it.reborn) == (True, 4, 4)


def test_whatever_ended_is_followed_by_a_higher_one_once_all_of_it_is_withdrawn() -> None:
    it = renewing(4)
    it.end()
    assert (it.is_renewing, it.reborn) == (False, 4), "the kernel may still have it open"
    assert it.withdrawn() == 4
    assert (it.is_renewing, it.reborn) == (False, 5), "also while the disk takes no higher one"
    assert it.bear(Incarnation(7)) is None
    assert (it.is_renewing, it.me.incarnation, it.reborn) == (True, 7, 7)


def test_what_is_found_to_be_over_meanwhile_makes_a_stored_one_too_low() -> None:
    it = renewing(4)
    it.end()
    assert it.withdrawn() == 4
    it.rule_out(Incarnation(9))
    assert it.bear(Incarnation(5)) == 9
    assert (it.is_renewing, it.me.incarnation) == (False, 4)
    assert it.bear(Incarnation(10)) is None
    assert it.me.incarnation == 10


def test_a_first_one_that_is_over_before_it_began_never_renews() -> None:
    it = at(4)
    it.begin()
    it.rule_out(Incarnation(6))
    assert it.withdrawn() == 6
    assert (it.is_renewing, it.reborn) == (False, 7)


def test_what_is_over_by_hearsay_goes_on_until_it_is_ended() -> None:
    it = renewing(4)
    it.rule_out(Incarnation(6))
    assert it.is_renewing
    it.end()
    assert it.withdrawn() == 6


def test_answers_that_nobody_asked_for_cannot_be() -> None:
    with pytest.raises(InvariantError, match="withdrawn in stage STARTING"):
        at(4).withdrawn()
    with pytest.raises(InvariantError, match="incarnation 5 in stage RENEWING"):
        renewing(4).bear(Incarnation(5))
