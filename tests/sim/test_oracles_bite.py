"""Each deliberate mistake in the planner must violate an oracle within a bounded number of seeds.

An oracle that no mistake violates checks nothing. A test that fails here says which mistake would go unnoticed.
"""

from collections.abc import Callable, Collection
from itertools import count
from math import inf
from typing import Any

import pytest

from gapless.core.effects import StoreSuccession, StoreWithdrawal
from gapless.core.events import HostConnected
from gapless.core.ledger import bindings, duties, invariants, successors
from gapless.core.ledger.agents import AgentRecord
from gapless.core.ledger.counts import Counts
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Attention, Silence, Timing
from gapless.core.ledger.looks import Looks
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right, RightState, Succession, Trigger
from gapless.core.ledger.tenures import Tenures
from gapless.core.ledger.tours import Tour
from gapless.core.ledger.trials import Trials
from gapless.core.ledger.views import StoredRouter
from gapless.core.ledger.ways import WaysRecord
from gapless.core.planner import agentless, copies, guards, leaseless, news, reports, ways, wishes
from gapless.core.planner.binding import Binding
from gapless.core.planner.brake import Brake
from gapless.core.planner.panel import Arbiters
from gapless.core.planner.rebinding import Rebinding
from gapless.core.planner.rights import Rights
from gapless.core.planner.standbys import Standbys
from gapless.core.planner.wishes import Beliefs, Stay, Wish
from gapless.model.host import AgentState
from gapless.model.lease import NOBODY, Tenure
from gapless.model.plan import Epoch
from gapless.model.way import WayOut
from gapless.sim.faults import coincidences, operators, schedule
from gapless.sim.guard import Guard
from gapless.sim.oracles.progress import Progress
from gapless.sim.run import run
from gapless.sim.store import FakeStore

SEEDS = 2000
FIRST = {
    "a_release_is_a_death": 32,
    "any_report_will_do": 780,
    "bindings_are_not_read": 4,
    "a_name_is_its_guard": 480,
    "a_name_is_a_machine": 485,
    "touring": 1070,
    "no_retry": 255,
    "no_second_try_at_storing": 125,
    "swinging": 420,
    "all_move_for_one_cause": 1070,
    "nobody_leaves_a_host_without_a_way_out": 79,
    "what_is_not_said_to_be_lost_is_there": 120,
    "a_way_out_is_back_at_once": 207,
    "goes_on_at_the_wrong_incarnation": 150,
    "the_living_are_confirmed_off": 130,
    "names_are_forgotten": 75,
    "nobody_leaves_a_host_without_an_agent": 20,
    "connections_are_waited_for_for_ever": 160,
}
"""Where to begin, if not at 1: some mistakes need a coincidence that few fleets have."""
PROVOKED = {"covered_before_guarded": (coincidences.guarding_cut_short, 20)}
"""What is looked for in fleets that meet a fault besides the others."""
ONE_STANDBY = {"a_name_is_a_machine", "a_name_is_its_guard"}
"""What is looked for in fleets with one standby a router, and without what strikes several: there it shows soonest."""
Patch = pytest.MonkeyPatch


def new_host_at_once(patch: Patch) -> None:
    """The new host hears of a router before the living one that it leaves has let go."""
    patch.setattr(Binding, "leaving", lambda self, router, target: None)


def no_grace(patch: Patch) -> None:
    """After a start, hosts count as unheard for as long as anybody likes."""
    patch.setattr(
        "gapless.core.ledger.ledger.Silence", lambda *, counted_from: Silence(counted_from=counted_from - 1000)
    )


def bindings_are_not_read(patch: Patch) -> None:
    """A controller that starts takes every router for one that was never bound."""
    patch.setattr(FakeStore, "_router", lambda self, needs: StoredRouter(needs=needs))


def no_pauses(patch: Patch) -> None:
    """The controller does not notice that it was stopped."""
    patch.setattr(Attention, "notice", lambda self, now: None)


def no_brake(patch: Patch) -> None:
    """However many hosts look dead, they are dead."""
    patch.setattr(Brake, "judge", lambda self, census, now: False)


def no_retry(patch: Patch) -> None:
    """A router whose new host fails is left to it."""
    patch.setattr(wishes, "_retry", lambda router, home: Stay())


def touring(patch: Patch) -> None:
    """A router that fails wherever it is built goes from host to host."""
    patch.setattr(Tour, "failed", lambda self, host, reason, now: None)


def swinging(patch: Patch) -> None:
    """A router that breaks again and again, each time after a while, is moved each time."""
    patch.setattr(Tour, "moved", lambda self, now: None)


def all_move_for_one_cause(patch: Patch) -> None:
    """What no host can run is moved, however many there are of it."""
    patch.setattr(Trials, "waits_until", lambda self, router: None)


def no_second_try_at_storing(patch: Patch) -> None:
    """A decision that could not be stored is forgotten."""
    patch.setattr(Looks, "later", lambda self, router_id, when: None)


def waiting_in_vain(patch: Patch) -> None:
    """A router without a candidate is not looked at again when there is one."""
    patch.setattr(Looks, "again", lambda self: None)


def any_report_will_do(patch: Patch) -> None:
    """A report from before the plan changed counts as a proof of having let go."""
    take_in = reports._take_in_removal

    def believe(ledger: Ledger, host: Host, router: RouterRecord, plan_version: int) -> None:
        take_in(ledger, host, router, plan_version)
        if router.id in host.letting_go and router.state is AssignmentState.WITHDRAWING:
            bindings.let_go(ledger, router, confirmed=True)

    patch.setattr(reports, "_take_in_removal", believe)


def unstored_withdrawal(patch: Patch) -> None:
    """The new host hears of a router before it is stored that the old one has let go."""
    settle = Binding.settle_withdrawal

    def settle_at_once(self: Binding, router: RouterRecord) -> bool:
        asked = settle(self, router)
        if isinstance(router.asked, StoreWithdrawal):
            router.asked = None
            bindings.hand_over(self._ledger, router)
        return asked

    patch.setattr(Binding, "settle_withdrawal", settle_at_once)


def returning_host_forgotten(patch: Patch) -> None:
    """A host that was dead when a move was decided, and is back when it is stored, is not waited for."""
    patch.setattr(RouterRecord, "is_withheld", property(lambda self: False))
    leaving = Binding.leaving

    def leaving_once(self: Binding, router: RouterRecord, target: str) -> str | None:
        return leaving(self, router, target) if router.is_wishing and router.asked is None else None

    patch.setattr(Binding, "leaving", leaving_once)


def off_means_nothing(patch: Patch) -> None:
    """A dead host's routers stay, whatever their mode."""
    homeless = wishes.homeless

    def stay(router: RouterRecord, home: Host | None, beliefs: Beliefs) -> Wish | Stay:
        return Stay() if home is not None else homeless(router, home, beliefs)

    patch.setattr(wishes, "homeless", stay)


def given_before_acknowledged(patch: Patch) -> None:
    """A host is taken at its plan's word: what it was told to close counts as closed."""
    patch.setattr(Rights, "has_closed", lambda self, host, router, incarnation, version: True)


def covered_before_guarded(patch: Patch) -> None:
    """A router counts as guarded as soon as its host has the plan, whatever its agent has done."""
    patch.setattr(Standbys, "_is_said_to_be_guarded", lambda self, home, router: True)


def a_release_is_a_death(patch: Patch) -> None:
    """Who has a router open because it was released is believed to have outlived the host that released it."""
    take_over = guards._take_over

    def believe(ledger: Ledger, host: Host, router: RouterRecord, *said: Any, is_released: bool) -> None:
        del is_released
        take_over(ledger, host, router, *said, is_released=False)

    patch.setattr(guards, "_take_over", believe)


def given_before_stored(patch: Patch) -> None:
    """A host hears of its right to succeed while that is being stored."""
    choose = Rights.choose

    def choose_and_give(self: Rights, router: RouterRecord, host: Host, why: str) -> Stay | None:
        answer = choose(self, router, host, why)
        chosen = [right for right in router.succession.rights if right.state is RightState.CHOSEN]
        if isinstance(router.asked, StoreSuccession) and chosen:
            successors.give(self._ledger, router, chosen[0])
        return answer

    patch.setattr(Rights, "choose", choose_and_give)


def silence_is_the_end(patch: Patch) -> None:
    """A guarded router leaves a host that is not heard, without asking the arbiters."""
    is_over = Rights.is_over

    def is_over_or_dead(self: Rights, tenure: Tenure) -> bool:
        host = self._ledger.fleet.get(tenure.host)
        return is_over(self, tenure) or (host is not None and host.is_dead)

    patch.setattr(Rights, "is_over", is_over_or_dead)


def a_name_is_a_machine(patch: Patch) -> None:
    """Another machine under a host's name says that the one before is over."""
    patch.setattr(Tenures, "has_outlived", lambda self, incarnation: incarnation < self.reborn)
    meet = news._meet

    def believe(ledger: Ledger, host: Host, event: HostConnected) -> None:
        host.tenures.reborn = max(host.tenures.reborn, event.incarnation)
        meet(ledger, host, event)

    patch.setattr(news, "_meet", believe)


def a_name_is_its_guard(patch: Patch) -> None:
    """What another machine says of its guard counts for the one before."""
    patch.setattr(Tenures, "is_of", lambda self, incarnation: True)


def names_are_forgotten(patch: Patch) -> None:
    """Another machine under a host's name begins at 1, as any machine."""
    patch.setattr(FakeStore, "name", lambda self, facts, incarnation: NOBODY)


def the_living_are_confirmed_off(patch: Patch) -> None:
    """An operator confirms machines off that only do not answer."""
    patch.setattr(operators, "is_off", lambda world, name: True)


def the_word_is_ignored(patch: Patch) -> None:
    """Of what operators confirm nothing follows for the panel."""
    judge = Arbiters.judge
    patch.setattr(Arbiters, "judge", lambda self, members, now, off=(): judge(self, members, now))
    patch.setattr(Progress, "_is_quorum_on", lambda self: True)


def nobody_stands_by_again(patch: Patch) -> None:
    """A router that lost its standby gets no other."""
    patch.setattr(successors, "drop", _drop_for_good(successors.drop))


def _drop_for_good(drop: Callable[[Ledger, RouterRecord, Right, Trigger], None]) -> Callable[..., None]:
    def drop_and_wait(ledger: Ledger, router: RouterRecord, right: Right, trigger: Trigger) -> None:
        drop(ledger, router, right, trigger)
        router.succession.calm_until = inf
        successors.drop_former(ledger, router)

    return drop_and_wait


def a_lease_is_waited_for_for_ever(patch: Patch) -> None:
    """A host that is heard and holds no lease is believed to be about to hold one."""
    patch.setattr(leaseless, "LEASELESS_S", inf)


def nobody_leaves_a_host_without_an_agent(patch: Patch) -> None:
    """A host whose agent does not work keeps what it has."""
    patch.setattr(wishes, "_leave", lambda router, home: None)


def an_agent_never_works_again(patch: Patch) -> None:
    """A host whose agent did not work for long is passed over, also when it works again."""
    begin = agentless.Agents.__init__

    def begin_unforgiving(self: agentless.Agents, timing: Timing) -> None:
        begin(self, timing)
        self._steady_s = inf

    patch.setattr(agentless.Agents, "__init__", begin_unforgiving)


def an_agents_death_is_enough(patch: Patch) -> None:
    """Routers leave a host as soon as its agent does not run."""
    patch.setattr(AgentRecord, "_is_too_long", lambda self, *_: self.state is not AgentState.RUNNING)


def nobody_leaves_a_host_without_a_way_out(patch: Patch) -> None:
    """A host that has lost its way out keeps what it has."""
    patch.setattr(ways, "lost", lambda ledger, router, home, beliefs: [])


def a_way_out_is_lost_at_once(patch: Patch) -> None:
    """Routers leave a host as soon as it says so, for one that has not said so yet."""
    patch.setattr("gapless.core.ledger.ways.SETTLED_S", 0.0)


def a_way_out_is_back_at_once(patch: Patch) -> None:
    """Routers leave for a host as soon as it has its way out again, which theirs may have in a moment."""

    def has(self: WaysRecord, ways: Collection[WayOut], lacking: Collection[WayOut], now: float) -> bool:
        del lacking, now
        return self.known_since is not None and not self.lost.keys() & ways

    patch.setattr(WaysRecord, "has", has)


def what_is_not_said_to_be_lost_is_there(patch: Patch) -> None:
    """A host that does not say how its ways out are is taken for one that has them."""
    patch.setattr(WaysRecord, "has", lambda self, ways, lacking, now: not self.lost.keys() & ways)


def second_does_not_wait_for_the_first(patch: Patch) -> None:
    """Every right begins when the host that the router is bound to is over, whatever its rank."""
    ahead_of = duties.ahead_of
    patch.setattr(duties, "ahead_of", lambda router, right: ahead_of(router, right)[:1])
    patch.setattr(invariants, "_check_chain", lambda router, wanted: None)


def first_is_replaced_while_the_second_stands(patch: Patch) -> None:
    """A new right comes before those that were given already, which hear later that they wait for it as well."""

    def lowest_free(self: Succession, bound: Epoch) -> Epoch:
        used = {right.epoch for right in self.rights}
        return next(Epoch(epoch) for epoch in count(bound + 1) if epoch not in used)

    add = Counts.add_right

    def add_by_epoch(self: Counts, router: RouterRecord, right: Right) -> None:
        add(self, router, right)
        self._count_shares(router, -1)
        router.succession.rights.sort(key=lambda each: each.epoch)
        self._count_shares(router, 1)

    patch.setattr(Succession, "next_epoch", lowest_free)
    patch.setattr(Counts, "add_right", add_by_epoch)


def first_is_forgotten_before_it_acknowledged(patch: Patch) -> None:
    """Who is being taken the right is not waited for any more by those behind it."""

    def given_before(self: Succession, right: Right) -> list[Tenure]:
        given = [each for each in self.rights if each.state is RightState.GIVEN]
        return [each.tenure for each in given if each.epoch < right.epoch]

    patch.setattr(Succession, "before", given_before)


def goes_on_at_the_wrong_incarnation(patch: Patch) -> None:
    """Of a router that goes on to the next standby, the host that has it is waited for at another's incarnation."""
    patch.setattr(Rebinding, "_incarnation_of", lambda self, router, leaving: router.succession.covered)


def held_open_and_not_said(patch: Patch) -> None:
    """What waits for its connections is open, the plan that takes it is acknowledged, and it is not said to be open."""
    forwarding = Guard.forwarding
    patch.setattr(
        Guard,
        "forwarding",
        lambda self: tuple(each for each in forwarding(self) if each.router_id not in self._held),
    )


def connections_are_not_waited_for(patch: Patch) -> None:
    """A router moves to a standby that has not all of its connections."""
    patch.setattr(copies, "_lacks_some", lambda router, home, host: False)


def connections_are_waited_for_for_a_moment(patch: Patch) -> None:
    """A router moves to a standby that does not get all of its connections at once."""
    patch.setattr(copies, "PATIENCE_S", 5.0)


def connections_are_waited_for_for_ever(patch: Patch) -> None:
    """A router whose standby never has all of its connections stays."""
    patch.setattr(copies, "PATIENCE_S", inf)


@pytest.mark.parametrize(
    ("mistake", "oracle"),
    [
        (connections_are_not_waited_for, "oracle 14"),
        (connections_are_waited_for_for_a_moment, "oracle 14"),
        (connections_are_waited_for_for_ever, "oracle 4"),
        (goes_on_at_the_wrong_incarnation, ("oracle 1", "oracle 3", "oracle 8")),
        (held_open_and_not_said, ("oracle 1", "oracle 3", "oracle 8")),
        (second_does_not_wait_for_the_first, "oracle 8"),
        (first_is_replaced_while_the_second_stands, ("oracle 1", "oracle 8")),
        (first_is_forgotten_before_it_acknowledged, ("oracle 1", "oracle 8")),
        (given_before_acknowledged, ("oracle 1", "oracle 8")),
        (covered_before_guarded, "oracle 1"),
        (a_release_is_a_death, ("oracle 1", "oracle 3", "oracle 8")),
        (given_before_stored, ("oracle 8", "a right to succeed")),
        (silence_is_the_end, ("oracle 1", "oracle 3", "oracle 8")),
        (a_name_is_a_machine, ("oracle 1", "oracle 3", "oracle 8")),
        (a_name_is_its_guard, ("oracle 1", "oracle 8")),
        (the_living_are_confirmed_off, ("oracle 1", "oracle 8")),
        (the_word_is_ignored, "oracle 4"),
        (names_are_forgotten, ("oracle 1", "oracle 3", "oracle 4", "oracle 8")),
        (nobody_stands_by_again, "oracle 4"),
        (a_lease_is_waited_for_for_ever, "oracle 4"),
        (nobody_leaves_a_host_without_an_agent, "oracle 4"),
        (an_agent_never_works_again, "oracle 4"),
        (an_agents_death_is_enough, "oracle 10"),
        (nobody_leaves_a_host_without_a_way_out, "oracle 4"),
        (a_way_out_is_lost_at_once, "oracle 13"),
        (a_way_out_is_back_at_once, "oracle 13"),
        (what_is_not_said_to_be_lost_is_there, "oracle 13"),
    ],
)
def test_a_mistake_with_standbys_is_caught(
    mistake: Callable[[Patch], None], oracle: str | tuple[str, ...], monkeypatch: Patch
) -> None:
    first, standbys = FIRST.get(mistake.__name__, 1), 1 if mistake.__name__ in ONE_STANDBY else None
    if standbys == 1:
        left = tuple(each for each in schedule.LEASE_FAULTS if each[0] is not coincidences.successors_power_failure)
        monkeypatch.setattr(schedule, "LEASE_FAULTS", left)
    if (provoked := PROVOKED.get(mistake.__name__)) is not None:
        monkeypatch.setattr(schedule, "LEASE_FAULTS", (*schedule.LEASE_FAULTS, provoked))
    with monkeypatch.context() as mistaken:
        mistake(mistaken)
        for seed in range(first, first + SEEDS):
            violation = run(seed, has_leases=True, standbys=standbys).violation
            if violation:
                assert violation.startswith(oracle), f"seed {seed}"
                break
        else:
            pytest.fail(f"{SEEDS} seeds went well although: {mistake.__doc__}")
    assert not run(seed, has_leases=True, standbys=standbys).violation, f"seed {seed} goes well without the mistake"


@pytest.mark.parametrize(
    ("mistake", "oracle"),
    [
        (new_host_at_once, "oracle 1"),
        (bindings_are_not_read, "oracle 2"),
        (no_grace, "oracle 5"),
        (no_pauses, "oracle 5"),
        (no_brake, "oracle 6"),
        (no_retry, "oracle 4"),
        (touring, "oracle 9"),
        (swinging, "oracle 11"),
        (all_move_for_one_cause, "oracle 12"),
        (no_second_try_at_storing, ("oracle 4", "oracle 7")),
        (waiting_in_vain, "oracle 7"),
        (any_report_will_do, "oracle 1"),
        (unstored_withdrawal, "oracle 3"),
        (returning_host_forgotten, "oracle 3"),
        (off_means_nothing, "oracle 4"),
        (nobody_leaves_a_host_without_a_way_out, "oracle 4"),
        (a_way_out_is_lost_at_once, "oracle 13"),
        (what_is_not_said_to_be_lost_is_there, "oracle 13"),
    ],
)
def test_a_mistake_is_caught(
    mistake: Callable[[Patch], None], oracle: str | tuple[str, ...], monkeypatch: Patch
) -> None:
    mistake(monkeypatch)
    first = FIRST.get(mistake.__name__, 1)
    for seed in range(first, first + SEEDS):
        violation = run(seed).violation
        if violation:
            assert violation.startswith(oracle), f"seed {seed}"
            monkeypatch.undo()
            assert not run(seed).violation, f"seed {seed} goes well without the mistake"
            return
    pytest.fail(f"{SEEDS} seeds went well although: {mistake.__doc__}")
