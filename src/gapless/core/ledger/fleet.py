"""The hosts as the planner knows them: what each says, what is bound to it, what it should run.

The rule: a router runs on one host at most; a guarded one may be built on others. Only `plan` and `unplan` change
plans, and each change raises the host's `plan_version`, by which a later report proves what the host knew when it made
it. Versions never begin anew, also when a host was deleted and is back: what waits for one waits for the name's.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType

from gapless.core.ledger.liveness import Silence, Standing
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation, machine_of
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Guarded, Role
from gapless.model.router import RouterId

DRAINS_AT_ONCE = 4
"""Routers that may be on their way from one host out of service, if nobody said otherwise; an agent builds about as
many in parallel."""


STOPPING_AT_ONCE = 64
"""The same of a host that is about to stop: it waits for seconds, and standbys have what comes to them built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What a host has to do with one router of its plan."""

    epoch: Epoch
    guarded: Guarded | None = None
    """None: it runs it, unguarded."""

    @property
    def is_standby(self) -> bool:
        """It keeps the router built and forwards nothing (yet)."""
        return self.guarded is not None and self.guarded.role is Role.STANDBY


@dataclass(slots=True, kw_only=True)
class Host:
    """One host."""

    facts: HostFacts
    incarnation: Incarnation
    admin_up: bool
    silence: Silence
    connected: bool = False
    is_stopping: bool = False
    """It said in this connection, or the last one, that it is about to stop: guarded routers leave it, none come."""
    agent: AgentState | None = None
    """None until the first report of this connection."""
    agent_trouble: str = ""
    """Why the last one ended, as long as none has run steadily since."""
    agent_runs_since: float | None = None
    """Since when it is known to run; None: it does not, or that was not said in this connection."""
    agent_lacks_since: float | None = None
    """Since when none has run steadily, as far as that counts; None: one does, or nothing is known."""
    agent_presumed_until: float = -inf
    """One that is found running until then is presumed to have run steadily: nobody could hear of it for long."""
    is_agentless: bool = False
    """Its agent has not worked for long (`planner.agentless`)."""
    is_to_be_left: bool = False
    """... and the cause is not a common one: its routers leave, as far as they can."""
    bound: set[RouterId] = field(default_factory=set)
    coming: set[RouterId] = field(default_factory=set)
    """A binding to it is being stored."""
    letting_go: set[RouterId] = field(default_factory=set)
    """Bound elsewhere; it has not said yet that nothing is left of them here."""
    drains: set[RouterId] = field(default_factory=set)
    """Left it because it is out of service, and their new host has not said yet how that went."""
    drains_at_once: int = DRAINS_AT_ONCE
    """How many of those there may be: as an operator said last, until it is back in service."""
    plan: dict[RouterId, Duty] = field(default_factory=dict)
    plan_version: int = 1
    unsent: set[RouterId] = field(default_factory=set)
    """Routers of the plan whose moves have not been sent yet."""
    session: int = 0
    """Names its connection: what was said in an earlier one is not heard any more."""
    heard: int = 0
    """The number of its last report in this connection."""
    reborn: Incarnation = field(default=Incarnation(0))
    """Every lower incarnation of this machine is over: it said so itself, by being at this one. Of another machine that
    had its name before, it says nothing."""
    leased: Incarnation = field(default=Incarnation(0))
    """The newest incarnation at which it said that it held its lease; 0: not known."""
    buried: Incarnation = field(default=Incarnation(0))
    """Up to here its incarnations are over by the arbiters' word, whatever it says of itself yet."""
    guard_version: int = 0
    """The version of the plan that its guard worked from when it last spoke in this connection; 0: none."""
    forwarding: Mapping[RouterId, Epoch] | None = None
    """Guarded routers that are open here; None: not said in this connection."""
    uplink_trouble: str = ""
    """What of its uplinks it has lost, in its own words."""
    owing: set[RouterId] = field(default_factory=set)
    """Routers that wait for what its guard says next."""
    panel_version: int = 1
    """The first version of its plan with the panel as it is."""
    is_held: bool = False
    """It holds its lease, as it said last in this connection."""
    without_since: float | None = None
    """Since when it is not known to hold its lease, as far as that counts against it; None: it holds it."""
    held_since: float | None = None
    """Since when it says that it holds its lease, as far as that is known; None: it does not."""
    is_leaseless: bool = False
    """It held no lease for long, and others did (`planner.leaseless`)."""
    is_off: bool = False
    """An operator confirmed that it is off, and it was not heard since."""
    must_follow: bool = False
    """The panel is lost, or began anew: what lease this host says it held may rest on the arbiters of before, until its
    guard works from the new panel."""
    standbys: set[RouterId] = field(default_factory=set)
    """Routers for which it stands by, or is being made to."""
    preparing: set[RouterId] = field(default_factory=set)
    """Those of them that it has not built yet, as far as it said."""
    shares: Counter[tuple[frozenset[HostName], HostName]] = field(default_factory=Counter)
    """Of the routers bound to it, how many fall to each other host, should it die and with it just these standbys."""
    calm_until: float = -inf
    """It took over a while ago: nothing more is built here so long."""
    told_standing: str = "expected"
    """As last reported."""
    told_agent: str = ""
    """As last reported: what is wrong with its agent."""
    told_ahead: bool = False
    told_leftovers: bool = False
    has_told_all: bool = False
    """It has said in this connection all that is there; else what is known of its routers is from before."""

    @property
    def name(self) -> HostName:
        """Its name."""
        return self.facts.name

    @property
    def unavailing(self) -> str:
        """Why it gets no routers, whatever it is able to, as a clause; "" if it may get some."""
        if not self.admin_up:
            return "is taken out of service"
        return "is being stopped" if self.is_stopping else ""

    @property
    def pace(self) -> int:
        """How many routers may be on their way from here at a time."""
        return max(self.drains_at_once, STOPPING_AT_ONCE) if self.is_stopping else self.drains_at_once

    @property
    def load(self) -> int:
        """Routers that it carries or is about to, as active host or as standby."""
        coming = len(self.coming - self.standbys - self.bound) if self.coming else 0
        return len(self.bound) + len(self.standbys) + coming

    @property
    def loads(self) -> tuple[int, int]:
        """By which hosts are compared: all that it carries, then what of it is active here, or about to be."""
        return self.load, len(self.bound) + len(self.coming - self.bound)

    @property
    def is_full(self) -> bool:
        """No capacity left."""
        return self.load >= self.facts.capacity

    @property
    def holds_lease(self) -> bool:
        """Whether guarded routers can be planned for it: it is at the incarnation at which it held its lease last."""
        is_present = self.buried < self.leased == self.incarnation and self.leased >= self.reborn
        return is_present and not self.must_follow and not self.is_leaseless

    @property
    def is_between_leases(self) -> bool:
        """It was fenced a moment ago, and may hold its lease again in the next: what is built here is worth keeping."""
        is_there = self.connected and self.silence.standing is Standing.ALIVE and self.facts.lease_address is not None
        return is_there and not (self.is_held or self.is_leaseless)

    def is_of(self, incarnation: Incarnation) -> bool:
        """Whether that is an incarnation of its machine, and not of another that had its name."""
        return machine_of(incarnation) == machine_of(self.incarnation)

    def has_outlived(self, incarnation: Incarnation) -> bool:
        """Whether its machine says that this incarnation is over; False: it is not known, nor is it of another one."""
        return incarnation < self.reborn and machine_of(incarnation) == machine_of(self.reborn)

    @property
    def tenure(self) -> Tenure:
        """The host as it is now."""
        return Tenure(self.name, self.incarnation)

    @property
    def is_dead(self) -> bool:
        """Silent for twice agent_down_time."""
        return self.silence.standing is Standing.DEAD

    @property
    def absence(self) -> str:
        """Why it hears nothing of what is decided now, as a clause; "" if it does. Its guard opens and closes what it
        should even without an agent.
        """
        match self.silence.standing:
            case Standing.DEAD:
                return "is dead"
            case Standing.SILENT:
                return "is silent"
            case Standing.EXPECTED:
                return "was not heard since the controller's start"
            case Standing.ALIVE:
                pass
        return "" if self.connected else "has no control link"

    @property
    def inability(self) -> str:
        """Why it can neither build nor remove anything now, as a clause; "" if it can."""
        if absence := self.absence:
            return absence
        return "" if self.agent is AgentState.RUNNING else "has no running agent"

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
        self._forgotten_version = 0
        """The highest version of the plan of any host that is not known any more."""
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
        host.plan_version += self._forgotten_version
        self._hosts[host.name] = host
        return host

    def forget(self, name: HostName) -> Host | None:
        """A host is not known any more."""
        self.changed_plans.pop(name, None)
        if (host := self._hosts.pop(name, None)) is not None:
            self._forgotten_version = max(self._forgotten_version, host.plan_version)
        return host

    def plan(self, name: HostName, router_id: RouterId, duty: Duty, *, reason: str, unsent: bool) -> bool:
        """The host has this duty; false if it had it before, or is not known."""
        host = self._hosts.get(name)
        if host is None or host.plan.get(router_id) == duty:
            return False
        host.plan[router_id] = duty
        host.plan_version += 1
        if unsent:
            host.unsent.add(router_id)
        self.changed_plans.setdefault(name, reason)
        return True

    def plan_version(self, name: HostName) -> int:
        """The version of its plan; 0 for a host that is not known."""
        host = self._hosts.get(name)
        return 0 if host is None else host.plan_version

    def unplan(self, name: HostName | None, router_id: RouterId, *, reason: str) -> Duty | None:
        """The host has nothing to do with the router (any more); what it had to do with it."""
        host = self.get(name)
        if host is None or (duty := host.plan.pop(router_id, None)) is None:
            return None
        host.plan_version += 1
        host.unsent.discard(router_id)
        self.changed_plans.setdefault(host.name, reason)
        return duty

    def touch(self, name: HostName | None, router_id: RouterId) -> None:
        """The router is another than before; if the host should run it, it should hear so."""
        host = self.get(name)
        if host is not None and router_id in host.plan:
            host.plan_version += 1
            self.changed_plans.setdefault(host.name, f"router {router_id} changed")


NOTHING: Mapping[RouterId, Epoch] = MappingProxyType({})
"""Nothing is open."""
