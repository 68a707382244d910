"""One request a router at a time; the last wish wins."""

from gapless.core.edge.activeset import ActiveSet, Opening
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

R1, R2 = RouterId("r1"), RouterId("r2")
ONE = {R1: Epoch(1)}


def ask(active: ActiveSet) -> Opening | None:
    """Open what is to be opened."""
    return active.open_now(Opening(active.to_open(), None, 0))


def test_what_is_wanted_is_opened_once() -> None:
    active = ActiveSet()
    active.want_only(ONE)
    assert ask(active) == Opening(ONE, None, 0)
    assert ask(active) is None
    assert active.opened(failed=False) == Opening(ONE, None, 0)
    assert (active.to_close(), active.to_open(), active.is_settled) == ((), {}, True)


def test_what_is_not_wanted_any_more_is_closed_when_it_is_open() -> None:
    active = ActiveSet()
    active.want_only(ONE)
    ask(active)
    active.want_only({})
    assert active.to_close() == (), "it is being opened"
    assert active.forwarding == ONE
    assert not active.is_settled
    assert active.opened(failed=False) is None, "nobody wants it announced"
    assert active.to_close() == (R1,)
    assert not active.is_settled
    active.closed((R1,))
    assert (active.forwarding, active.is_settled) == ({}, True)


def test_what_is_wanted_again_while_it_is_closed_is_opened_after_that() -> None:
    active = ActiveSet()
    active.want_only(ONE)
    ask(active)
    active.opened(failed=False)
    active.want_only({})
    active.to_close()
    active.want_only({R1: Epoch(3)})
    assert ask(active) is None
    active.closed((R1,))
    assert ask(active) == Opening({R1: Epoch(3)}, None, 0)


def test_what_fails_is_tried_again_when_asked_as_what_it_was() -> None:
    active = ActiveSet()
    active.want({R1: Epoch(1), R2: Epoch(1)})
    takeover = Opening({R1: Epoch(1), R2: Epoch(1)}, None, 7)
    active.open_now(takeover)
    assert active.opened(failed=True) is None
    assert active.forwarding == takeover.routers
    assert active.to_open() == {}, "not at once"
    active.want_only({R2: Epoch(1)})
    (again,) = active.failed()
    assert active.open_now(again) == Opening({R2: Epoch(1)}, None, 7)
    assert active.failed() == []


def test_what_may_be_open_is_opened_again_and_counts_as_open_for_all_that_takes_it_away() -> None:
    active = ActiveSet()
    active.want_only(ONE)
    ask(active)
    assert active.opened(failed=True, is_unsure=True) is None, "nobody announces it"
    assert (active.forwarding, active.is_settled) == (ONE, True)
    assert not active.are_open(ONE)
    assert not active.is_anything_open
    assert active.to_open() == {}, "not at once"
    (again,) = active.failed()
    assert active.open_now(again) == Opening(ONE, None, 0)
    active.want_only({})
    assert active.opened(failed=True, is_unsure=True) is None
    assert not active.is_settled
    assert active.to_close() == (R1,)
    assert (active.to_open(), active.failed(), active.forwarding, active.is_settled) == ({}, [again], ONE, False)
    assert active.open_now(again) is None, "nobody wants it"
    active.closed((R1,))
    assert (active.forwarding, active.is_settled) == ({}, True)


def test_what_may_be_open_and_is_taken_away_later_is_closed() -> None:
    active = ActiveSet()
    active.want_only(ONE)
    ask(active)
    active.opened(failed=True, is_unsure=True)
    assert active.to_open() == {}
    active.want_only({})
    assert (active.is_settled, active.to_close()) == (False, (R1,))
    active.want_only({R1: Epoch(3)})
    assert active.open_now(*active.failed()) is None, "it is being closed"
    active.closed((R1,))
    assert ask(active) == Opening({R1: Epoch(3)}, None, 0)


def test_what_may_be_open_is_closed_where_its_next_opening_is_said_to_have_changed_nothing() -> None:
    active = ActiveSet()
    active.want_only(ONE)
    ask(active)
    active.opened(failed=True, is_unsure=True)
    active.open_now(*active.failed())
    active.want_only({})
    active.opened(failed=True)
    assert (active.to_close(), active.forwarding, active.is_settled) == ((), {}, True)
