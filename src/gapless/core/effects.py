"""Everything the planner can ask for. The mirror image of `events.py`.

Effects are imperative. Each carries `reason`, a sentence that an operator understands, and `cause`, the id of the
first event that led to it. The shell carries effects out in order and answers with events; a failure is an event too.
"""

from dataclasses import dataclass

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Panel, PanelVersion, Tenure
from gapless.model.plan import Epoch, MoveKind, MoveStep, Successor
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Store that `router_id` is bound to `host` at `epoch`, and begin the record of the move, in one transaction.

    Holds only if the stored epoch is still `replaces` (0: never bound), or if this binding is stored already: then
    only its `leaving_host` is put right. Of those who may succeed, only successors of higher epochs stay. Answered by
    exactly one BindingStored or BindingFailed. The record's first steps are part of this: DECIDED is the moment of the
    effect, unless `over` says when it was; LAST_HEARD lies `silent_s` before it (without that there is none), BOUND is
    the moment of the transaction, and what was over before comes as `over`. Every later step comes as a RecordStep.
    """

    router_id: RouterId
    host: HostName
    epoch: Epoch
    previous_host: HostName | None
    leaving_host: HostName | None
    """Stored with the binding: a living host that must confirm that nothing is left there before `host` may build."""
    kind: MoveKind
    silent_s: float | None
    """How long ago the previous host was heard last when this was decided; None where silence is not why, or it was
    not heard since the controller's start: when that was, nobody knows."""
    choice: str
    """Why this host, of those that could take it: the record's detail."""
    reason: str
    cause: str
    incarnation: Incarnation | None = None
    """That of `host`, where the router is guarded by its lease; None: a classic binding."""
    leaving_incarnation: Incarnation | None = None
    """That of `leaving_host`, where it is guarded there: then it has to close the router, or be over."""
    skipped: int = 0
    """Epochs between the stored one and this: of successors that are over, and may have been active unheard."""
    over: tuple[tuple[MoveStep, float], ...] = ()
    """Steps that were over then, and how many seconds before the effect: what a successor did by itself. It decides,
    too, and the controller hears of that later."""

    @property
    def replaces(self) -> Epoch:
        """The epoch of the binding that is stored until then."""
        return Epoch(self.epoch - self.skipped - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWithdrawal:
    """Store that nothing of `router_id` is left on `leaving_host`: the binding's leaving_host becomes None.

    Holds only if the stored epoch is still `epoch`. Answered by exactly one WithdrawalStored or WithdrawalFailed; the
    new host hears of the router only after it is stored, so that a controller that restarts knows what it told whom.
    """

    router_id: RouterId
    epoch: Epoch
    leaving_host: HostName
    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSuccession:
    """Store at which incarnation of its host the router is guarded (None: not at all), and all who may succeed it.

    Holds only if the stored epoch is still `epoch`. Answered by exactly one SuccessionStored or SuccessionFailed. No
    plan gives a right, or counts on a guard, before that is stored; and none is given anew before it is stored that
    nobody has it.
    """

    router_id: RouterId
    epoch: Epoch
    incarnation: Incarnation | None
    successors: tuple[Successor, ...]
    """By rank."""
    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePanel:
    """Store the arbiters. Answered by exactly one PanelStored or PanelFailed; hosts hear of them after that."""

    panel: Panel
    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskArbiters:
    """Claim `tenure` at these arbiters, as question `seq`; their answers come with their reports.

    Nothing is to be sent to one that is not connected: it is asked again, with another `seq`, for as long as it
    matters.
    """

    tenure: Tenure
    seq: int
    panel: PanelVersion
    arbiters: tuple[HostName, ...]
    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPlan:
    """What `host` should run changed, or one of its routers did: bring it to `Planner.plan_of(host)`.

    A level, not a difference: several of one host may be carried out as one, with the plan as it is at that moment.
    Send along nothing for a host that is not connected; a HostConnected asks again.
    """

    host: HostName
    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStep:
    """A step of the move that brought `router_id` to `epoch` is over; it was over `ago_s` seconds before now."""

    router_id: RouterId
    epoch: Epoch
    step: MoveStep
    ago_s: float
    reason: str
    cause: str
    counts_from_plan: bool = False
    """Its host counted from when it had the plan, and `ago_s` takes that for when it was asked to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRouter:
    """What a router waits for changed: one log line, and the `reason` that the API shows ("" when it waits no more)."""

    router_id: RouterId
    reason: str
    is_stuck: bool
    """Whether it waits for a host that can take it, and there is none."""
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportHost:
    """A host's standing changed (alive, silent, dead, draining, refused, ...), or its agent stopped working or works
    again: one log line.
    """

    host: HostName
    standing: str
    reason: str
    cause: str
    is_trouble: bool = False
    """Somebody should look after it, whatever its standing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportArbiters:
    """Arbiters are too few for takeovers, or are no longer: one log line."""

    is_short: bool
    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCommonCause:
    """Routers that their hosts cannot run stay there, since moving others did not help: one log line."""

    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPause:
    """The controller itself was away for `pause_s` seconds: one log line."""

    pause_s: float
    excused_s: float
    """So much of every host's silence is not counted."""
    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngageBrake:
    """More hosts look dead at once than is believable: nothing moves for silence until it is over or released."""

    hosts: tuple[HostName, ...]
    reason: str
    cause: str

    @property
    def line(self) -> str:
        """What is told of it: one line."""
        return f"The brake is engaged: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBrake:
    """The brake is off again."""

    reason: str
    cause: str

    @property
    def line(self) -> str:
        """What is told of it: one line."""
        return f"The brake is released: {self.reason}"


Effect = (
    Bind
    | StoreWithdrawal
    | StoreSuccession
    | StorePanel
    | AskArbiters
    | PublishPlan
    | RecordStep
    | ExplainRouter
    | ReportHost
    | ReportArbiters
    | ReportPause
    | ReportCommonCause
    | EngageBrake
    | ReleaseBrake
)
