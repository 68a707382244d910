"""The hosts as the planner knows them: what each says, what is bound to it, what it should run.

The rule: a router is in one host's plan at most. Only `plan` and `unplan` change plans, and each change raises the
host's `plan_version`, by which a later report proves what the host knew when it made it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gapless.core.liveness import Silence, Standing
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation
from gapless.model.plan import Epoch
from gapless.model.router import RouterId


@dataclass(slots=True, kw_only=True)
class Host:
    """One host."""

    facts: HostFacts
    incarnation: Incarnation
    admin_up: bool
    silence: Silence
    connected: bool = False
    agent: AgentState | None = None
    """None until the first report of this connection."""
    bound: set[RouterId] = field(default_factory=set)
    coming: set[RouterId] = field(default_factory=set)
    """A binding to it is being stored."""
    letting_go: set[RouterId] = field(default_factory=set)
    """Bound elsewhere; it has not said yet that nothing is left of them here."""
    drains: set[RouterId] = field(default_factory=set)
    """Left it because it is out of service, and their new host has not said yet how that went."""
    plan: dict[RouterId, Epoch] = field(default_factory=dict)
    plan_version: int = 1
    unsent: set[RouterId] = field(default_factory=set)
    """Routers of the plan whose moves have not been sent yet."""
    told_standing: str = "expected"
    """As last reported."""
    told_agent_down: bool = False
    told_ahead: bool = False
    told_leftovers: bool = False

    @property
    def name(self) -> HostName:
        """Its name."""
        return self.facts.name

    @property
    def load(self) -> int:
        """Routers that it carries or is about to."""
        return len(self.bound) + len(self.coming)

    @property
    def is_full(self) -> bool:
        """No capacity left."""
        return self.load >= self.facts.capacity

    @property
    def is_dead(self) -> bool:
        """Silent for twice agent_down_time."""
        return self.silence.standing is Standing.DEAD

    @property
    def inability(self) -> str:
        """Why it can neither build nor remove anything now, as a clause; "" if it can."""
        match self.silence.standing:
            case Standing.DEAD:
                return "is dead"
            case Standing.SILENT:
                return "is silent"
            case Standing.EXPECTED:
                return "was not heard since the controller's start"
            case Standing.ALIVE:
                pass
        if not self.connected:
            return "has no control link"
        if self.agent is not AgentState.RUNNING:
            return "has no running agent"
        return ""

    @property
    def standing(self) -> str:
        """One word for people."""
        if self.silence.standing is not Standing.ALIVE or self.admin_up:
            return self.silence.standing.value
        return "draining" if self.holds_routers else "drained"

    @property
    def holds_routers(self) -> bool:
        """Whether a router is bound here, or may still run here: pulling this host's power would hurt somebody."""
        return bool(self.bound or self.letting_go)


class Fleet:
    """Every host that is known, by name."""

    def __init__(self) -> None:
        self._hosts: dict[HostName, Host] = {}
        self.changed_plans: dict[HostName, str] = {}
        """Hosts whose plan, or a router in it, changed since this was last emptied; the first reason of each."""
        self.changed_standings: set[HostName] = set()
        """Hosts whose standing may have changed since this was last emptied."""

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def get(self, name: HostName | None) -> Host | None:
        """None for a name that is not known."""
        return None if name is None else self._hosts.get(name)

    def add(self, host: Host) -> Host:
        """A host is known from now on."""
        self._hosts[host.name] = host
        return host

    def forget(self, name: HostName) -> Host | None:
        """A host is not known any more."""
        self.changed_plans.pop(name, None)
        return self._hosts.pop(name, None)

    def plan(self, name: HostName, router_id: RouterId, epoch: Epoch, *, reason: str, unsent: bool) -> None:
        """The host should run the router."""
        if host := self._hosts.get(name):
            host.plan[router_id] = epoch
            host.plan_version += 1
            if unsent:
                host.unsent.add(router_id)
            self.changed_plans.setdefault(name, reason)

    def unplan(self, name: HostName | None, router_id: RouterId, *, reason: str) -> None:
        """The host should not run the router (any more)."""
        host = self.get(name)
        if host is not None and host.plan.pop(router_id, None) is not None:
            host.plan_version += 1
            host.unsent.discard(router_id)
            self.changed_plans.setdefault(host.name, reason)

    def touch(self, name: HostName | None, router_id: RouterId) -> None:
        """The router is another than before; if the host should run it, it should hear so."""
        host = self.get(name)
        if host is not None and router_id in host.plan:
            host.plan_version += 1
            self.changed_plans.setdefault(host.name, f"router {router_id} changed")
