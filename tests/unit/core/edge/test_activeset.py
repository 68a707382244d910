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
