"""Each rule of the lease is needed: a beat or shell without it must violate an oracle within a bounded number of seeds.

A test that fails here says which rule the simulation would not miss.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from random import Random

import pytest

from gapless.core.edge import refusals
from gapless.core.edge.activeset import ActiveSet
from gapless.core.edge.arbiter import Arbiter
from gapless.core.edge.beat import Beat
from gapless.core.edge.claim import Claim
from gapless.core.edge.lease import Lease
from gapless.core.edge.refusals import Refusals
from gapless.core.edge.releases import Releases
from gapless.core.edge.takeover import Takeover
from gapless.core.edge.uplinks import WaysOut
from gapless.model.host import Incarnation
from gapless.model.lease import DatagramKind, LeaseTiming, Panel, PanelVersion, Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId
from gapless.sim.lease import faults
from gapless.sim.lease.controller import Controller
from gapless.sim.lease.faults import Fault
from gapless.sim.lease.kernel import Kernel
from gapless.sim.lease.run import run
from gapless.sim.lease.world import fleet

SEEDS = 1000
FIRST = {
    "grants_count_from_receipt": 50,
    "no_drift": 45,
    "no_quiet_time": 200,
    "no_window": 690,
    "planned_before_its_first_lease": 320,
    "planned_by_a_lost_panel": 1750,
    "released_before_closed": 760,
    "released_means_over": 150,
    "released_to_any_right": 1535,
}
"""Where to begin, if not at 1: some mistakes need a coincidence that few fleets have."""
Patch = pytest.MonkeyPatch


def grants_count_from_receipt(patch: Patch) -> None:
    """The holder counts a grant from when it comes, not from when it was asked for."""

    def grant(self: Lease, arbiter: str, seq: int, panel: Panel, now: float) -> bool | None:
        if seq not in self._sent or self.is_lapsed(now):
            return None
        self.ends[arbiter] = now + self._lease_s
        return self.look(panel, now)

    patch.setattr(Lease, "grant", grant)


def no_quiet_time(patch: Patch) -> None:
    """An arbiter that restarted, and forgot, answers at once."""
    patch.setattr(LeaseTiming, "quiet_s", 0.0)


def no_window(patch: Patch) -> None:
    """A claim counts answers of any age."""
    patch.setattr(LeaseTiming, "window_s", 1e9)


def minority_claims(patch: Patch) -> None:
    """One arbiter's answer is enough."""
    bury = Claim.bury

    def bury_at_once(self: Claim, *arguments: object) -> bool:
        bury(self, *arguments)
        return True

    patch.setattr(Claim, "bury", bury_at_once)


def minority_leases(patch: Patch) -> None:
    """One arbiter's grant is enough."""
    patch.setattr(Panel, "lasts_until", lambda self, ends: max(ends.get(each, -inf) for each in self.arbiters))


def grants_what_it_buried(patch: Patch) -> None:
    """An arbiter says GRANT also to whom it has buried, and BURIED still to whoever claims that one."""
    renew = Arbiter.renew

    def renew_buried(
        self: Arbiter, holder: Tenure, seq: int, panel: PanelVersion, now: float
    ) -> tuple[DatagramKind, Incarnation] | None:
        answer = renew(self, holder, seq, panel, now)
        return (
            (DatagramKind.GRANT, holder.incarnation) if answer == (DatagramKind.REFUSE, holder.incarnation) else answer
        )

    patch.setattr(Arbiter, "renew", renew_buried)


def buries_what_it_granted(patch: Patch) -> None:
    """An arbiter answers BURIED to every claim, whatever it has granted."""
    claim = Arbiter.claim

    def claim_granted(self: Arbiter, tenure: Tenure, panel: PanelVersion, now: float) -> DatagramKind | None:
        if (grant := self._grants.get(tenure.host)) and grant.incarnation <= tenure.incarnation:
            del self._grants[tenure.host]  # `Arbiter.check` would find it.
            self._expiring.pop(tenure.host, None)
        return claim(self, tenure, panel, now)

    patch.setattr(Arbiter, "claim", claim_granted)


def lapsed_is_renewed(patch: Patch) -> None:
    """A lease that lapsed goes on when grants come again."""
    next_deadline = Beat.next_deadline
    patch.setattr(Lease, "is_lapsed", lambda self, now: False)
    patch.setattr(Beat, "next_deadline", lambda self: max(next_deadline(self), self._now + 0.01))


def restart_keeps_active_set(patch: Patch) -> None:
    """A sentinel that starts leaves in the kernel what an earlier life activated."""
    withdraw = Kernel.withdraw

    def withdraw_later(self: Kernel, *, is_first: bool) -> None:
        if not is_first:
            withdraw(self, is_first=False)

    patch.setattr(Kernel, "withdraw", withdraw_later)


def relative_timeout(patch: Patch) -> None:
    """The kernel's lease is given as so many seconds from when it is written, not as an absolute end."""

    def hold(self: Kernel, until: float, now: float, *, decided_at: float) -> None:
        self._until = now + until - decided_at

    patch.setattr(Kernel, "hold", hold)


def given_before_acknowledged(patch: Patch) -> None:
    """What is taken from a host is given to another one before the first has acknowledged it."""

    def take_at_once(self: Controller, router_id: str, index: int) -> None:
        actors = self.chains[router_id].actors
        if index < len(actors):
            del actors[index]
            self._publish()

    patch.setattr(Controller, "take", take_at_once)


def new_panel_alone_at_once(patch: Patch) -> None:
    """The new arbiters alone, before the old ones have stopped serving those who know only them."""

    def replace_panel(self: Controller, arbiters: frozenset[str]) -> None:
        version = PanelVersion(self.panel.version + 1)
        self.panel = Panel(version=version, floor=self.panel.floor, sets=(arbiters,))
        self._publish()

    patch.setattr(Controller, "replace_panel", replace_panel)


def no_drift(patch: Patch) -> None:
    """An arbiter counts a grant for as long as its holder does, as if their clocks were one."""
    patch.setattr(LeaseTiming, "arbiter_s", property(lambda self: self.lease_s))


def plans_undo_takeovers(patch: Patch) -> None:
    """A plan is followed although its maker had not heard of a takeover."""
    plan_ = Beat._plan
    patch.setattr(Beat, "_plan", lambda self, plan: plan_(self, replace(plan, heard=1000)))


def rights_survive(patch: Patch) -> None:
    """A host keeps its rights through a new incarnation."""
    give = Takeover.give
    patch.setattr(Takeover, "give", lambda self, rights: give(self, rights) if rights else None)
    patch.setattr(Beat, "check", lambda self: None)  # It would find that it forwards without a lease.


def planned_before_its_first_lease(patch: Patch) -> None:
    """The controller plans for a tenure that has not held a lease yet."""
    patch.setattr(Beat, "tenure", property(lambda self: self._me if self._incarnations.is_renewing else None))


def planned_by_a_lost_panel(patch: Patch) -> None:
    """Arbiters that were off are on again, unheard: what they grant counts until the panel begins anew."""
    patch.setattr(Controller, "gate", lambda self, version: None)
    patch.setattr(Controller, "is_held", lambda self: False)


def released_before_closed(patch: Patch) -> None:
    """A host releases a router as soon as its plan says so, and closes it after that."""
    due = Releases.due
    patch.setattr(Releases, "due", lambda self, is_open: due(self, ()))
    patch.setattr(Beat, "check", lambda self: None)  # It would find that it forwards what it has released.


def released_to_any_right(patch: Patch) -> None:
    """A release is heeded whatever epoch it names: one that was under way for long counts for a later right."""
    release = Takeover.release

    def release_any(self: Takeover, by: Tenure, router_id: RouterId, epoch: Epoch) -> bool:
        right = self._rights.find(router_id)
        return release(self, by, router_id, epoch if right is None else right.epoch)

    patch.setattr(Takeover, "release", release_any)


def released_means_over(patch: Patch) -> None:
    """Who took a router over because it was released is believed to have outlived the host that released it."""
    succeeded = Controller._succeeded
    patch.setattr(
        Controller,
        "_succeeded",
        lambda self, chain, place, *, is_released: succeeded(self, chain, place, is_released=False),
    )


def lost_answers_count_as_closed(patch: Patch) -> None:
    """An opening whose answer was lost is taken for one that failed."""
    opened = ActiveSet.opened
    patch.setattr(ActiveSet, "opened", lambda self, *, failed, is_unsure: opened(self, failed=failed))


def losses_count_at_once(patch: Patch) -> None:
    """A host that finds a gateway lost does not wait until the others must have found out."""
    patch.setattr(WaysOut, "_is_settled", lambda *_: True)


def hints_are_not_heeded(patch: Patch) -> None:
    """A successor that a quorum has told of a silence waits for more."""
    patch.setattr(Takeover, "_is_hinted", lambda *_: False)


def nobody_stands_by_again(patch: Patch) -> None:
    """The controller names the first successors, and no more."""
    patch.setattr(Controller, "_fill", lambda self, chain: None)


def a_lease_is_kept_that_the_kernel_refuses(patch: Patch) -> None:
    """A host renews at the arbiters whatever its kernel takes."""
    patch.setattr(Refusals, "is_unheld", lambda *_, **__: False)


def what_others_can_have_waits_for_the_rest(patch: Patch) -> None:
    """A host waits for its kernel unless others can take over all that is open there."""
    is_unheld = Refusals.is_unheld

    def is_unheld_by_all(self: Refusals, ends: float, now: float, *, open_here: int, others_can: int) -> bool:
        return is_unheld(self, ends, now, open_here=open_here, others_can=others_can if others_can >= open_here else -1)

    patch.setattr(Refusals, "is_unheld", is_unheld_by_all)


def each_lease_makes_up_for_what_was(patch: Patch) -> None:
    """A host whose kernel takes a lease now and then counts from the last one."""
    is_unheld = Refusals.is_unheld

    def is_unheld_anew(self: Refusals, ends: float, now: float, *, open_here: int, others_can: int) -> bool:
        self._dark_until = -inf
        return is_unheld(self, ends, now, open_here=open_here, others_can=others_can)

    patch.setattr(Refusals, "is_unheld", is_unheld_anew)


@pytest.mark.parametrize(
    "mistake",
    [
        grants_count_from_receipt,
        no_quiet_time,
        no_window,
        minority_leases,
        grants_what_it_buried,
        buries_what_it_granted,
        minority_claims,
        lapsed_is_renewed,
        restart_keeps_active_set,
        relative_timeout,
        given_before_acknowledged,
        new_panel_alone_at_once,
        no_drift,
        plans_undo_takeovers,
        rights_survive,
        planned_before_its_first_lease,
        losses_count_at_once,
        released_before_closed,
        released_to_any_right,
        released_means_over,
        planned_by_a_lost_panel,
        lost_answers_count_as_closed,
    ],
)
def test_a_mistake_is_caught(mistake: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mistake(monkeypatch)
    first = FIRST.get(mistake.__name__, 1)
    for seed in range(first, first + SEEDS):
        violation = run(seed).violation
        if violation:
            assert violation.startswith(("oracle 1", "oracle 3", "oracle 5")), f"seed {seed}: {violation}"
            monkeypatch.undo()
            assert not run(seed).violation, "without the mistake all is well"
            return
    pytest.fail(f"{SEEDS} seeds went well although: {mistake.__doc__}")


@pytest.mark.parametrize(
    ("mistake", "seed", "oracle"),
    [
        (hints_are_not_heeded, 25, "oracle 2"),
        (nobody_stands_by_again, 1, "oracle 4"),
        (a_lease_is_kept_that_the_kernel_refuses, 10, "oracle 6"),
        (what_others_can_have_waits_for_the_rest, 218, "oracle 6"),
    ],
)
def test_that_nobody_takes_over_is_caught(
    mistake: Callable[[Patch], None], seed: int, oracle: str, monkeypatch: Patch
) -> None:
    mistake(monkeypatch)
    assert run(seed).violation.startswith(oracle)


@pytest.mark.parametrize("mistake", [None, each_lease_makes_up_for_what_was])
def test_that_a_kernel_takes_a_lease_now_and_then_is_caught(
    mistake: Callable[[Patch], None] | None, monkeypatch: Patch
) -> None:
    """Nobody takes over, and patience is shorter than in life, since fleets do not live as long."""
    monkeypatch.setattr(refusals, "ALONE_S", 0.6)
    monkeypatch.setattr(WaysOut, "others_can", lambda *_: 0)
    if mistake is not None:
        mistake(monkeypatch)
    seed = 4
    active = f"{sorted(fleet(Random(seed), seed).routers)[0]}:0"
    bouts = [Fault(faults.BEGIN_S + 0.45 * number, faults.REFUSE, (active, 0.41)) for number in range(5)]
    outcome = run(seed, only=bouts, is_telling=True)
    assert outcome.violation.startswith("oracle 6") if mistake is not None else not outcome.violation
    assert ("does not take its lease" in "\n".join(outcome.story)) is (mistake is None)
