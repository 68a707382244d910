"""Whatever becomes of the routers that are moved for one cause: how many are, and that others may follow in the end."""

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.events import RouterNeeds
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.tours import MOST_S, PAUSE_S
from gapless.core.ledger.trials import FEW, WELL_S, Trials
from gapless.model.host import HostName
from gapless.model.router import FailoverMode, RouterId

OLD, NEW = HostName("h1"), HostName("h2")
WHY = "nft: too many elements"


class Fleet:
    """Routers that all fail on h1 for one cause, and go to h2 as soon as they may."""

    def __init__(self, count: int) -> None:
        self.trials, self.now, self.well = Trials(), 0.0, 0
        self.moved: list[float] = []
        self.coming: list[RouterRecord] = []
        self.routers: dict[RouterId, RouterRecord] = {}
        for number in range(count):
            needs = RouterNeeds(router_id=RouterId(f"r{number}"), mode=FailoverMode.RESCHEDULE)
            failed = RouterRecord(needs=needs, host=OLD, state=AssignmentState.FAILED, fault=WHY)
            self.routers[failed.id] = failed
        self.look([*self.routers.values()])

    def look(self, routers: list[RouterRecord]) -> None:
        for router in routers:
            if router.host != OLD:
                continue
            if self.trials.waits_until(router) is not None:
                self.trials.waits(router)
                continue
            self.trials.begins(router, self.now)
            self.moved.append(self.now)
            router.host, router.state = NEW, AssignmentState.BUILDING
            self.coming.append(router)

    def end(self, *, well: bool) -> None:
        """One of those that were moved is active, or has failed."""
        if self.coming:
            router = self.coming.pop(0)
            router.state = AssignmentState.ACTIVE if well else AssignmentState.FAILED
            router.tour.active_since = self.now if well else None
            self.well += well

    def take(self, what: str, how: float) -> None:
        """One step of those below."""
        if what == "end":
            self.end(well=bool(how))
        else:
            self.pass_time(how)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + max(1.0, seconds / 50))
            self.look([self.routers[each] for each in self.trials.judge(self.routers, self.now)])


steps = st.lists(
    st.one_of(
        st.tuples(st.just("end"), st.booleans()),
        st.tuples(st.just("wait"), st.floats(0.5, 30)),
        st.tuples(st.just("wait"), st.sampled_from([WELL_S, PAUSE_S / 2, PAUSE_S + 1, 2 * PAUSE_S + 1])),
    ),
    max_size=40,
)


@given(taken=steps)
def test_no_more_follow_than_those_that_are_well_make_room_for(taken: list[tuple[str, float]]) -> None:
    fleet = Fleet(200)
    for step in taken:
        fleet.take(*step)
        pauses = int(fleet.now / PAUSE_S)
        assert len(fleet.moved) <= FEW * (1 + fleet.well + pauses)


@given(taken=steps)
def test_whoever_waits_follows_in_the_end(taken: list[tuple[str, float]]) -> None:
    fleet = Fleet(200)
    for step in taken:
        fleet.take(*step)
    before = len(fleet.moved)
    fleet.pass_time(MOST_S + MOST_S / 25)
    assert len(fleet.moved) > before or len(fleet.moved) == len(fleet.routers)
