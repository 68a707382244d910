"""Whether the controller hears this host."""

from math import inf

from gapless.sentinel.contact import BACK_S, Contact


def test_one_that_was_never_reached_is_not_waited_for() -> None:
    contact = Contact()
    assert (contact.words, contact.is_there, contact.is_lost(0.0)) == ("", False, True)
    contact.ended(1.0, is_refused=False)
    assert (contact.words, contact.is_lost(1.0)) == ("not reached", True)


def test_one_that_was_there_a_moment_ago_is_waited_for_once() -> None:
    contact = Contact()
    contact.began()
    assert (contact.is_there, contact.heard_until) == (True, inf)
    contact.ended(10.0, is_refused=False)
    contact.ended(11.0, is_refused=False)
    assert [contact.is_lost(now) for now in (10.0 + BACK_S - 0.001, 10.0 + BACK_S)] == [False, True]
    contact.began()
    assert not contact.is_lost(99.0)


def test_one_that_refuses_this_host_is_not_waited_for() -> None:
    contact = Contact()
    contact.began()
    contact.ended(10.0, is_refused=True)
    assert (contact.words, contact.is_lost(10.0)) == ("refuses this host", True)
