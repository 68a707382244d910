"""Everything that can happen to a host's beat (`edge.beat`), and everything that it can ask for or tell.

Events are facts, effects are imperative, news are for the log and the controller. The shell's part of the contract:

- It carries effects out one after another, in their order, and never those of an earlier life of the sentinel.
- It reads the clock *after* it has taken a datagram from its socket, and hands that in as `now`.
- When a deadline has come it calls `Beat.on_deadline` before it reads the socket: a renewal waits for nothing. Then it
  reads all there is and says `Emptied` if the beat is listening: others' leases are judged by what was heard.
- It answers each Activate, Deactivate, Withdraw and NeedIncarnation exactly once, in order. Deactivate, Withdraw and
  NeedIncarnation are tried until they succeed; an Activate may fail, and is then asked for again, or its routers are
  deactivated where they may be open all the same. A HoldLease is answered only if it failed.
- It lets the controller know a *tenure* only after the `LeaseHeld` that names it: a tenure that never held a lease
  may be buried, forgotten, and then granted after all, so nothing may ever be planned for it, or after it. What it says
  earlier of an incarnation (`Beat.reborn`) is that those below are over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Datagram, Panel, PanelVersion, Tenure
from gapless.model.plan import Epoch, Revision, Successor
from gapless.model.router import RouterId

# What a host should run


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A host may make a router active at `epoch` once every tenure in `after` (at least one) is buried, or has released
    the router."""

    epoch: Epoch
    after: tuple[Tenure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPlan:
    """A level: all that a host forwards, and all that it may take over, at one incarnation."""

    revision: Revision
    incarnation: Incarnation
    """What the plan was made for. For any other it gives nothing but the panel."""
    heard: int
    """How many takeovers of this incarnation the plan takes into account: `Beat.takeovers` as it was, together with
    `Beat.forwarding`, in the last report that its maker knew. A takeover with a higher number is not undone."""
    panel: Panel | None
    """None: as it was."""
    active: Mapping[RouterId, Epoch]
    rights: Mapping[RouterId, Right]
    releases: Mapping[RouterId, Successor] = field(default_factory=dict)
    """What it closes and then releases (`edge.releases`)."""


# Events


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A datagram arrived."""

    datagram: Datagram
    waited_s: float = 0.0
    """For how long it had lain in the socket. It is only told: whatever decides something counts from `now`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belated:
    """A renewal arrived, authentic and dropped: its sender's machine was heard at a higher incarnation before."""

    sender: Tenure
    highest: Incarnation
    """The highest at which it was heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptied:
    """Everything that had arrived at the socket at `at` was handed in. To be said whenever `Beat.is_listening`: the
    socket is read until it is empty, `at` being read off the clock before the look that found it so."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The controller, or at the start the disk (panel only), says what to run."""

    plan: GuardPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A `Withdraw` is done: the kernel's active set is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reborn:
    """A `NeedIncarnation` is done: the host's new incarnation is on its disk, and was never used."""

    incarnation: Incarnation


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlived:
    """The controller says that incarnations up to this one belong to other machines that had this host's name."""

    up_to: Incarnation


@dataclass(frozen=True, slots=True, kw_only=True)
class Activated:
    """An `Activate` was carried out; with a `reason`, it failed, and none of these is in the kernel's active set."""

    routers: tuple[RouterId, ...]
    reason: str = ""
    is_unsure: bool = False
    """It failed, and all of them may be there all the same: the kernel's answer to this one was lost, or to an earlier
    one."""
    is_refused: bool = False
    """It failed as the kernel takes nothing, whatever these routers are; and nothing passes that is not to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldFailed:
    """The kernel did not take a `HoldLease`; nothing passes after the end of the one that it has."""

    ends: float
    """When the last one that it is known to have taken ends; minus infinity: none since all was withdrawn."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deactivated:
    """A `Deactivate` is done: these are not in the kernel's active set, for certain."""

    routers: tuple[RouterId, ...]
    begun_at: float | None = None
    """When the kernel was asked for it, the last time: none of them was closed before. None: a moment ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BurialAsked:
    """The controller claims a tenure, over the control link; answered by a `BurialAnswered`, or not at all in the quiet
    time, or when `panel`, which the controller counts by, is below this arbiter's floor."""

    tenure: Tenure
    seq: int
    panel: PanelVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinksSeen:
    """How this host's uplinks are. Ways out have names that all hosts use for the same (`edge.uplinks`)."""

    trouble: str
    """What is lost, in words; "" if nothing is."""
    carriers: frozenset[str] = frozenset()
    """The physical networks whose carrier is gone."""
    gateways: frozenset[str] = frozenset()
    """The gateways that are lost, those of such networks included."""
    unsure: frozenset[str] = frozenset()
    """The gateways that never answered: they are not lost, and nobody should come here for them."""
    used: frozenset[str] = frozenset()
    """Those that routers use which are active here, lost or not; may be left out while nothing is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJudged:
    """How the machine's clock is steered. With a `fault`, in words, it may run otherwise than the lease assumes."""

    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRestored:
    """The guard was removed by somebody else, so that every guarded tap passed frames, and is back."""


BeatEvent = (
    ClockJudged
    | GuardRestored
    | UplinksSeen
    | Received
    | Belated
    | Emptied
    | Planned
    | Withdrawn
    | Reborn
    | Outlived
    | Activated
    | Deactivated
    | HoldFailed
    | BurialAsked
)


# News


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHeld:
    """The first lease of this tenure. From now on the controller may plan for it."""

    tenure: Tenure


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """This tenure is over; the host returns at a higher incarnation, with nothing active."""

    tenure: Tenure
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArbitersLost:
    """These have no unexpired grant for this host any more."""

    arbiters: tuple[HostName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArbitersBack:
    """These grant again."""

    arbiters: tuple[HostName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelStale:
    """An arbiter serves only hosts that follow a later panel than this one's: nothing is granted until it comes."""

    arbiter: HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class Misheard:
    """A host that may succeed this one had no guard for a while, and has it again: its frames were taken for those of
    what is open here."""

    of: HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSilent:
    """A quorum says so of a tenure that this host may succeed: it is claimed now."""

    tenure: Tenure
    silent_for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverTimes:
    """Seconds on this host's monotonic clock."""

    last_grant: float
    """About when the last grant expired at the arbiter that completed the quorum, from its `silent_for_s`."""
    silent: float
    """A quorum had said SILENT."""
    claimed: float
    """The first CLAIM left."""
    buried: float
    """A quorum had answered BURIED."""
    opened: float
    """The routers were in the kernel's active set."""
    announced: float | None = None
    """Filled in by the shell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TookOver:
    """Routers of `of` are active here now. `number` counts this incarnation's takeovers, as they were decided.

    `is_released`: that host lives, and released them; all times before `opened` are when the first was closed.
    """

    number: int
    of: Tenure
    routers: Mapping[RouterId, Epoch]
    times: TakeoverTimes
    is_released: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettled:
    """What this plan takes away is closed, so it may be acknowledged, *together with* `Beat.forwarding`: a router that
    was taken over before the plan came, and that its maker had not heard of, is still there."""

    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class BurialAnswered:
    """To a `BurialAsked`: whether the tenure is buried here."""

    tenure: Tenure
    seq: int
    is_buried: bool


News = (
    LeaseHeld
    | Fenced
    | ArbitersLost
    | ArbitersBack
    | PanelStale
    | Misheard
    | HostSilent
    | TookOver
    | PlanSettled
    | BurialAnswered
)


# Effects


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send a datagram; it may be lost. `to` is never this host."""

    to: HostName
    datagram: Datagram


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLease:
    """Let the kernel's lease end at `until`, an absolute time of this host's monotonic clock. If that is over when this
    is carried out, it must revive nothing."""

    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Empty the kernel's active set, whatever is in it."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedIncarnation:
    """Store an incarnation higher than `after` and than any that this host ever had; then say `Reborn`."""

    after: Incarnation


@dataclass(frozen=True, slots=True, kw_only=True)
class Activate:
    """Put these routers into the kernel's active set, in one transaction."""

    routers: Mapping[RouterId, Epoch]
    cause: Tenure | None
    """Whose burial, or release, brings it about; None: the plan says so."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deactivate:
    """Take these routers out of the kernel's active set."""

    routers: tuple[RouterId, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Tell the networks of these routers where they are now."""

    routers: tuple[RouterId, ...]
    cause: Tenure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """For the log and the controller."""

    news: News


BeatEffect = Send | HoldLease | Withdraw | NeedIncarnation | Activate | Deactivate | Announce | Tell


@dataclass(slots=True)
class Counters:
    """What one life of a beat has asked and been granted, and what led to nothing; shown with a host's figures."""

    asked: int = 0
    """Renewals, one for each arbiter."""
    granted: int = 0
    """Of these, what was granted in time."""
    late_grants: int = 0
    """Answers to a renewal that is older than a lease, or of an earlier incarnation."""
    late_answers: int = 0
    """Answers to a claim that is over, older than the window, or of an earlier incarnation."""
    old_senders: int = 0
    """Renewals that are older than one already heard: late, or sent twice."""
    quiet_drops: int = 0
    """Questions that came in the arbiter's quiet time, or while it had no panel."""
    stale_panels: int = 0
    """Questions answered STALE."""
    namesakes: int = 0
    """Renewals of another machine while the one that had its name before has an unexpired grant."""
    refusals: int = 0
    """Renewals answered REFUSE."""
    denials: int = 0
    """Claims answered ALIVE."""
    useless_hints: int = 0
    """SILENT of a tenure after which this host has no right."""
    strangers: int = 0
    """Answers and hints of hosts that are no arbiters of this host's panel."""
    untimed: int = 0
    """Answers and hints that came while this machine's clock could not be trusted."""
    other_timings: int = 0
    """Questions of hosts whose lease is not as long as this one's."""
    other_plans: int = 0
    """Plans for another incarnation, or for one that has not held its lease."""
    useless_releases: int = 0
    """RELEASED of a router to which this host has no right, or none any more: it was used, or is another one."""
    older_epochs: int = 0
    """Routers of a plan at a lower epoch than the one at which they are active here already."""
