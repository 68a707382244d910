"""Each deliberate mistake in the planner must violate an oracle within a bounded number of seeds.

An oracle that no mistake violates checks nothing. A test that fails here says which mistake would go unnoticed.
"""

from collections.abc import Callable

import pytest

from gapless.core import reports, wishes
from gapless.core.brake import Brake
from gapless.core.effects import StoreWithdrawal
from gapless.core.fleet import Host
from gapless.core.ledger import Ledger
from gapless.core.liveness import Attention, Silence
from gapless.core.moves import AssignmentState
from gapless.core.planner import Planner
from gapless.core.routers import RouterRecord
from gapless.core.tours import Tour
from gapless.core.wishes import Beliefs, Stay, Wish
from gapless.sim.run import run

SEEDS = 2000
FIRST = {"any_report_will_do": 2500}
"""Where to begin, if not at 1: some mistakes need a coincidence that few fleets have."""
Patch = pytest.MonkeyPatch


def new_host_at_once(patch: Patch) -> None:
    """The new host hears of a router before the living one that it leaves has let go."""
    patch.setattr(Planner, "_leaving", lambda self, router, target: None)


def no_grace(patch: Patch) -> None:
    """After a start, hosts count as unheard for as long as anybody likes."""
    patch.setattr("gapless.core.ledger.Silence", lambda *, counted_from: Silence(counted_from=counted_from - 1000))


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


def no_second_try_at_storing(patch: Patch) -> None:
    """A decision that could not be stored is forgotten."""
    patch.setattr(Ledger, "look_later", lambda self, router, when: None)


def waiting_in_vain(patch: Patch) -> None:
    """A router without a candidate is not looked at again when there is one."""
    patch.setattr(Ledger, "look_again", lambda self: None)


def any_report_will_do(patch: Patch) -> None:
    """A report from before the plan changed counts as a proof of having let go."""

    def believe(ledger: Ledger, host: Host, router: RouterRecord, plan_version: int) -> None:
        if router.id in host.letting_go and router.state is AssignmentState.WITHDRAWING:
            ledger.let_go(router, confirmed=True)

    patch.setattr(reports, "_take_in_removal", believe)


def unstored_withdrawal(patch: Patch) -> None:
    """The new host hears of a router before it is stored that the old one has let go."""
    settle = Planner._settle_withdrawal

    def settle_at_once(self: Planner, router: RouterRecord, beliefs: Beliefs) -> bool:
        asked = settle(self, router, beliefs)
        if isinstance(router.asked, StoreWithdrawal):
            router.asked = None
            self._ledger.hand_over(router)
        return asked

    patch.setattr(Planner, "_settle_withdrawal", settle_at_once)


def returning_host_forgotten(patch: Patch) -> None:
    """A host that was dead when a move was decided, and is back when it is stored, is not waited for."""
    patch.setattr(RouterRecord, "is_withheld", property(lambda self: False))
    leaving = Planner._leaving

    def leaving_once(self: Planner, router: RouterRecord, target: str) -> str | None:
        return leaving(self, router, target) if router.is_wishing and router.asked is None else None

    patch.setattr(Planner, "_leaving", leaving_once)


def off_means_nothing(patch: Patch) -> None:
    """A dead host's routers stay, whatever their mode."""
    without_home = wishes._without_home

    def stay(router: RouterRecord, home: Host | None, beliefs: Beliefs) -> Wish | Stay:
        return Stay() if home is not None else without_home(router, home, beliefs)

    patch.setattr(wishes, "_without_home", stay)


@pytest.mark.parametrize(
    ("mistake", "oracle"),
    [
        (new_host_at_once, "oracle 1"),
        (no_grace, "oracle 5"),
        (no_pauses, "oracle 5"),
        (no_brake, "oracle 6"),
        (no_retry, "oracle 4"),
        (touring, "oracle 8"),
        (no_second_try_at_storing, ("oracle 4", "oracle 7")),
        (waiting_in_vain, "oracle 7"),
        (any_report_will_do, "oracle 1"),
        (unstored_withdrawal, "oracle 3"),
        (returning_host_forgotten, "oracle 3"),
        (off_means_nothing, "oracle 4"),
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
            return
    pytest.fail(f"{SEEDS} seeds went well although: {mistake.__doc__}")
