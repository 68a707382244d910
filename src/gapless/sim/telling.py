"""The story in words: one line an effect, an event or a plan."""

from collections.abc import Mapping
from typing import assert_never

from gapless.core.effects import (
    AskArbiters,
    Bind,
    Effect,
    EngageBrake,
    ExplainRouter,
    PublishPlan,
    RecordStep,
    ReleaseBrake,
    ReportArbiters,
    ReportCommonCause,
    ReportHost,
    ReportPause,
    StorePanel,
    StoreSuccession,
    StoreWithdrawal,
)
from gapless.core.events import Event
from gapless.core.ledger.plans import Duty
from gapless.model.plan import Role
from gapless.model.router import RouterId


def line(effect: Effect) -> str:
    """What the planner asks for."""
    match effect:
        case Bind():
            way = f"{effect.previous_host} -> {effect.host}" if effect.previous_host else f"-> {effect.host}"
            waits = f", once {effect.leaving_host} has let go" if effect.leaving_host else ""
            return f"bind {effect.router_id} {way} at epoch {effect.epoch}{waits}: {effect.reason} [{effect.choice}]"
        case StoreWithdrawal():
            return f"store that {effect.router_id} has left {effect.leaving_host}: {effect.reason}"
        case StoreSuccession():
            guard = "unguarded" if effect.incarnation is None else f"guarded at {effect.incarnation}"
            who = ", then ".join(str(each.tenure) for each in effect.successors) or "nobody"
            return f"store that {effect.router_id} is {guard}, {who} succeeds: {effect.reason}"
        case StorePanel():
            sets = " and ".join("+".join(sorted(each)) for each in effect.panel.sets)
            return f"store panel {effect.panel.version}, floor {effect.panel.floor}: {sets}: {effect.reason}"
        case AskArbiters():
            return f"ask {'+'.join(effect.arbiters) or 'nobody'} to bury {effect.tenure}"
        case PublishPlan():
            return f"send {effect.host} its plan: {effect.reason}"
        case RecordStep():
            ago = f" {effect.ago_s * 1000:.0f} ms ago" if effect.ago_s else ""
            because = f": {effect.reason}" if effect.reason else ""
            return f"record {effect.router_id} at epoch {effect.epoch}: {effect.step}{ago}{because}"
        case ExplainRouter():
            return f"{effect.router_id}: {effect.reason or 'waits for nothing'}"
        case ReportHost():
            return f"{effect.host} is {effect.standing}: {effect.reason}"
        case ReportPause() | ReportArbiters() | ReportCommonCause():
            return effect.reason
        case EngageBrake() | ReleaseBrake():
            return effect.line
    assert_never(effect)


def news(event: Event) -> str:
    """What an operator or the API says."""
    said = {name: getattr(event, name) for name in event.__dataclass_fields__ if name != "id"}
    return " ".join([type(event).__name__, *(f"{name}={value}" for name, value in said.items())])


def plan(routers: Mapping[RouterId, Duty]) -> str:
    """A plan, as short as it gets."""
    return ", ".join(f"{router_id}@{_duty(duty)}" for router_id, duty in sorted(routers.items())) or "nothing"


def _duty(duty: Duty) -> str:
    guarded = duty.guarded
    if guarded is None:
        return str(duty.epoch)
    if guarded.role is Role.ACTIVE:
        return f"{duty.epoch} (active at {guarded.incarnation})"
    if guarded.release is not None:
        return f"{duty.epoch} (released to {guarded.release.tenure})"
    return f"{duty.epoch} (after {'+'.join(map(str, guarded.after))})" if guarded.after else f"{duty.epoch} (built)"
