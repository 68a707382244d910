"""What a plan does, in words: for the log, and for the reason of a router that is not as it should be."""

from collections.abc import Iterable

from gapless.model.operation import (
    AddRoute,
    ChangePeers,
    CreateVxlan,
    LoadRules,
    Operation,
    RemoveRoute,
    RestoreRoutingRules,
)


def in_short(plan: Iterable[Operation]) -> str:
    """The kinds of operations and what they are about: what a log line has room for."""
    return ", ".join(f"{type(operation).__name__} {_subject_of(operation)}".strip() for operation in plan)


def _subject_of(operation: Operation) -> str:
    """The link that an operation is about, or the chains; "" for one that is about the namespace."""
    match operation:
        case CreateVxlan(vxlan=vxlan):
            return vxlan.name
        case ChangePeers(vxlan=name):
            return name
        case AddRoute(route=route) | RemoveRoute(route=route):
            return route.hops[0].link
        case LoadRules(altered=chains):
            return " ".join(chains)
        case RestoreRoutingRules(rules=rules):
            return " ".join(str(rule.priority) for rule in sorted(rules))
        case _:
            named = getattr(operation, "link", None) or getattr(operation, "name", "")
            return str(named)


def at_length(plan: Iterable[Operation]) -> str:
    """All that there is to say of them: for the reason of a router that is not as it should be."""
    return "; ".join(str(operation) for operation in plan)
