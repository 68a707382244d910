"""What the planner keeps of one router: what it needs, where it is bound, how far it has come, what it waits for.

The rule: at most one write to the store is under way for a router (`asked`), and while it is, nothing else is decided.
"""

from dataclasses import dataclass, field

from gapless.core.backoff import Pace
from gapless.core.effects import Bind, StoreSuccession, StoreWithdrawal
from gapless.core.events import RouterNeeds
from gapless.core.ledger.moves import AssignmentState, Trigger, after
from gapless.core.ledger.retries import Retries
from gapless.core.ledger.succession import Succession
from gapless.core.ledger.tours import Damping, Tour
from gapless.model.host import HostName
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

HOST_PACE = Pace(first_s=30.0, most_s=600.0, settled_s=600.0)
"""How long a router keeps away from a host that could not run it."""
STORE_PACE = Pace(first_s=1.0, most_s=60.0, settled_s=60.0)
"""How long until a decision that could not be stored is made again."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator asked for: this host, or None for any other than the present one.

    Granted as soon as nothing else is under way, or refused then: nobody wants a move by surprise hours later.
    """

    host: HostName | None


@dataclass(frozen=True, slots=True)
class Copying:
    """It could leave for this tenure, which has not all of its connections."""

    to: Tenure
    since: float


@dataclass(slots=True, kw_only=True)
class RouterRecord:
    """One router."""

    needs: RouterNeeds
    host: HostName | None = None
    """What the store says it is bound to; never None again once it was not."""
    epoch: Epoch = field(default=Epoch(0))
    state: AssignmentState = AssignmentState.UNBOUND
    leaving: HostName | None = None
    """In WITHDRAWING and WITHDRAWN: the host that may still have it."""
    leaving_version: int = 0
    """The first version of that host's plan that is known to be without it."""
    dropped_version: int | None = None
    """Version of its host's plan that first lacked it; None: it was never in there."""
    removed_from: HostName | None = None
    """The host that it leaves, or is about to (the new binding is on its way into the store), if that said, from a plan
    without it, that nothing is left."""
    why_not_removed: str = ""
    """Why the host that it leaves has something of it still, in that host's words; "" where it has not said so."""
    let_go_at: float | None = None
    """When that host said that nothing is left."""
    asked: Bind | StoreWithdrawal | StoreSuccession | None = None
    """The write to the store that is under way."""
    is_amending: bool = False
    """... and is a Bind that is stored already, once more, now with the host that has to let go first."""
    succession: Succession = field(default_factory=Succession)
    planned_on: set[HostName] = field(default_factory=set)
    """The hosts that have it in their plan."""
    planned_version: int = 0
    """The first version of its host's plan that has it as it is now."""
    wanted: Wanted | None = None
    refused: str = ""
    """Why an operator's last request could not be granted."""
    copying: Copying | None = None
    """For whose copy it waits before it leaves, as it should; or waited in vain, and leaves with its turn."""
    drained_from: HostName | None = None
    """The host out of service that it left with its last move, until the new one says how it went."""
    open_move: bool = False
    """The record of the move to `epoch` is neither confirmed nor superseded."""
    failure_told: bool = False
    """... but it says that the host failed."""
    sent_at: float | None = None
    choice: str = ""
    """Why it is bound where it is."""
    fault: str = ""
    """In FAILED: what its host says."""
    reason: str = ""
    """What it waits for, as last explained; "" when it waits for nothing."""
    is_wishing: bool = False
    """It should be bound anew."""
    cause: str = ""
    """The id of the first event that led to what it wishes, or to its last move."""
    store: Retries[str] = field(default_factory=lambda: Retries(STORE_PACE))
    hosts: Retries[HostName] = field(default_factory=lambda: Retries(HOST_PACE))
    tour: Tour = field(default_factory=Tour)
    damping: Damping | None = None
    """Why it stays though its host cannot run it, as of the last look."""

    @property
    def id(self) -> RouterId:
        """Its id."""
        return self.needs.router_id

    def see(self, trigger: Trigger) -> bool:
        """Its host says how it is; whether that is news."""
        before, self.state = self.state, after(self.state, trigger)
        return self.state is not before

    @property
    def is_guarded(self) -> bool:
        """Only the holder of a lease forwards it, so it is moved by `planner.standbys`."""
        return self.succession.covered is not None

    @property
    def stays(self) -> bool:
        """It leaves a host that has it open still, for one that is over: nobody else has it, nor will by that move."""
        succession = self.succession
        is_leaving = self.state is AssignmentState.WITHDRAWING and succession.stays_at is not None
        return is_leaving and succession.took is None and not succession.has_arrived

    @property
    def is_withheld(self) -> bool:
        """It is being bound away from a host that is dead: should that host return right now, it must not build it."""
        if not isinstance(self.asked, Bind) or self.host is None or self.is_guarded:
            return False
        return self.asked.leaving_host is None or self.is_amending
