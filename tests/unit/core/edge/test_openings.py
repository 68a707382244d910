"""What one incarnation has open, without the beat around it: by a plan, by a takeover, by a release."""

import pytest
from beat_rig import DEAD, ME, R1, R2, news, right

from gapless.core.edge.beatevents import (
    Activate,
    Activated,
    Announce,
    BeatEffect,
    Counters,
    Deactivate,
    Deactivated,
    GuardPlan,
    Send,
)
from gapless.core.edge.incarnations import Incarnations
from gapless.core.edge.openings import Openings
from gapless.core.edge.outgoing import Outgoing
from gapless.core.edge.takeover import Takeover
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, DatagramKind, PanelVersion, Tenure
from gapless.model.plan import Epoch, Revision, Successor

OTHER = Successor(tenure=Tenure(HostName("b"), Incarnation(2)), epoch=Epoch(6))


class Rig:
    def __init__(self) -> None:
        self.over: set[Tenure] = set()
        self.counters = Counters()
        self.out = Outgoing(Incarnations(ME, Incarnation(1)), DEFAULT)
        self.out.panel = PanelVersion(1)
        takeover = Takeover(DEFAULT, self.counters)
        self.openings = Openings(self.out, takeover, self.counters, self.over.__contains__)

    def plan(self, **fields: object) -> list[BeatEffect]:
        rest = {"heard": 0, "panel": None, "active": {}, "rights": {}} | fields
        self.openings.plan(GuardPlan(revision=Revision(1), incarnation=Incarnation(1), **rest))  # type: ignore[arg-type]
        return self.turn()

    def turn(self) -> list[BeatEffect]:
        """What is asked for now; the kernel does all of it at once."""
        self.openings.move(0.0)
        self.openings.check()
        asked = self.out.effects
        self.out.begin()
        return asked

    def done(self, *events: Activated | Deactivated) -> list[BeatEffect]:
        for event in events:
            self.openings.carried_out(event, 1.0)
        return self.turn()


def test_a_plan_opens_and_closes() -> None:
    rig = Rig()
    assert rig.plan(active={R1: Epoch(3)})[0] == Activate(routers={R1: Epoch(3)}, cause=None, reason="its plan says so")
    assert Announce(routers=(R1,), cause=None) in rig.done(Activated(routers=(R1,)))
    assert Deactivate(routers=(R1,), reason="its plan says so") in rig.plan()
    assert (rig.openings.settled, rig.openings.forwarding) == (Revision(1), {R1: 3}), "not closed yet"
    assert [type(each).__name__ for each in news(rig.done(Deactivated(routers=(R1,))))] == ["PlanSettled"]
    assert rig.openings.forwarding == {}


def test_what_was_released_to_this_host_stays_until_a_plan_has_heard_of_it() -> None:
    rig = Rig()
    rig.plan(rights={R1: right(5)})
    assert not rig.openings.take_released(DEAD, R1, Epoch(4), 1.0), "another epoch"
    assert rig.openings.take_released(DEAD, R1, Epoch(5), 1.0)
    rig.openings.open_released()
    assert (rig.openings.takeovers, rig.openings.released) == (1, {R1})
    rig.done(Activated(routers=(R1,)))
    rig.plan(heard=0)
    assert rig.openings.forwarding == {R1: 5}
    assert Deactivate(routers=(R1,), reason="its plan says so") in rig.plan(heard=1)


def test_a_plan_is_settled_when_what_stays_beyond_it_is_known_to_be_open() -> None:
    rig = Rig()
    rig.plan(rights={R1: right(5)})
    rig.openings.take_released(DEAD, R1, Epoch(5), 1.0)
    rig.openings.open_released()
    rig.turn()
    assert not news(rig.plan(heard=0)), "it may not be open yet"
    assert [type(each).__name__ for each in news(rig.done(Activated(routers=(R1,))))] == ["TookOver", "PlanSettled"]


def test_nothing_is_closed_for_a_host_that_is_over() -> None:
    rig = Rig()
    rig.plan(active={R1: Epoch(3), R2: Epoch(3)})
    rig.done(Activated(routers=(R1, R2)))
    rig.over.add(OTHER.tenure)
    asked = rig.plan(active={R2: Epoch(3)}, releases={R1: OTHER})
    assert not [each for each in asked if isinstance(each, Deactivate)]
    assert rig.openings.forwarding == {R1: 3, R2: 3}


@pytest.mark.parametrize("is_answered_first", [True, False])
def test_what_may_be_open_is_released_and_its_plan_settled_when_it_is_closed_for_certain(
    *, is_answered_first: bool
) -> None:
    """Also where the plan comes before the answer that says so."""
    rig = Rig()
    rig.plan(active={R1: Epoch(3)})
    lost = Activated(routers=(R1,), reason="nobody knows whether that was done", is_unsure=True)
    asked = rig.done(lost) if is_answered_first else []
    asked += rig.plan(releases={R1: OTHER})
    asked += rig.done(lost) if not is_answered_first else []
    assert asked == [Deactivate(routers=(R1,), reason="its plan says so")]
    rig.openings.begin_interval()
    assert (rig.turn(), rig.openings.forwarding) == ([], {R1: 3})
    done = rig.done(Deactivated(routers=(R1,)))
    assert [type(each).__name__ for each in news(done)] == ["PlanSettled"]
    (said,) = [each.datagram for each in done if isinstance(each, Send)]
    assert (said.kind, said.router) == (DatagramKind.RELEASED, R1)


def test_what_was_taken_over_and_may_be_open_holds_up_a_plan_until_it_is_known_to_be() -> None:
    rig = Rig()
    rig.plan(rights={R1: right(5)})
    rig.openings.take_released(DEAD, R1, Epoch(5), 1.0)
    rig.openings.open_released()
    rig.turn()
    lost = Activated(routers=(R1,), reason="nobody knows whether that was done", is_unsure=True)
    assert not news(rig.done(lost))
    assert not news(rig.plan(heard=0)), "it may not be open"
    rig.openings.begin_interval()
    assert rig.turn() == [Activate(routers={R1: Epoch(5)}, cause=DEAD, reason="it failed before")]
    assert [type(each).__name__ for each in news(rig.done(Activated(routers=(R1,))))] == ["TookOver", "PlanSettled"]
