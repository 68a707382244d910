"""The hosts as the planner knows them: what each says, what is bound to it, what it should run.

The rule: a router runs on one host at most; a guarded one may be built on others. Only `plan` and `unplan` change
plans. Versions of plans never begin anew, also when a host was deleted and is back: what waits for one waits for the
name's.

What is known of a host is put together from records, each with a rule of its own: `liveness` (its silence), `links`,
`tenures`, `leases`, `guards`, `agents`, `ways`, `plans`, `told`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from gapless.core.events import RouterNeeds
from gapless.core.ledger.agents import AgentRecord
from gapless.core.ledger.guards import GuardRecord
from gapless.core.ledger.leases import LeaseRecord
from gapless.core.ledger.links import LinkRecord
from gapless.core.ledger.liveness import Silence, Standing
from gapless.core.ledger.plans import Duty, Plan
from gapless.core.ledger.tenures import Tenures
from gapless.core.ledger.told import Told
from gapless.core.ledger.ways import WaysRecord
from gapless.model.host import AgentState, HostFacts, HostName
from gapless.model.lease import Tenure
from gapless.model.router import RouterId
from gapless.model.way import WayOut

DRAINS_AT_ONCE = 4
"""Routers that may be on their way from one host out of service, if nobody said otherwise; an agent builds about as
many in parallel."""


STOPPING_AT_ONCE = 16
"""The same of a host that is about to stop, or of routers whose way out it has lost: it waits for seconds, or they are
dark, and standbys have what comes to them built. The more at once, the longer each is dark, and the sooner all have
left (ADR 19 has the figures).
"""


@dataclass(slots=True, kw_only=True)
class Host:
    """One host."""

    facts: HostFacts
    tenures: Tenures
    admin_up: bool
    is_stopping: bool = False
    """It said in this connection, or the last one, that it is about to stop: guarded routers leave it, none come."""
    is_off: bool = False
    """An operator confirmed that it is off, and it was not heard since."""
    silence: Silence
    link: LinkRecord = field(default_factory=LinkRecord)
    agent: AgentRecord = field(default_factory=AgentRecord)
    is_to_be_left: bool = False
    """It is agentless, and the cause is not a common one: its routers leave, as far as they can."""
    lease: LeaseRecord = field(default_factory=LeaseRecord)
    guard: GuardRecord = field(default_factory=GuardRecord)
    copied: dict[RouterId, bool] = field(default_factory=dict)
    """Routers of whose connections it said in this connection whether it has all, as their standby."""
    uplink_trouble: str = ""
    """What of its uplinks it has lost, in its own words."""
    ways: WaysRecord = field(default_factory=WaysRecord)
    plan: Plan = field(default_factory=Plan)
    told: Told = field(default_factory=Told)

    # What it carries, as the records of routers say

    bound: set[RouterId] = field(default_factory=set)
    coming: set[RouterId] = field(default_factory=set)
    """A binding to it is being stored."""
    letting_go: set[RouterId] = field(default_factory=set)
    """Bound elsewhere; it has not said yet that nothing is left of them here."""
    standbys: set[RouterId] = field(default_factory=set)
    """Routers for which it stands by, or is being made to."""
    preparing: set[RouterId] = field(default_factory=set)
    """Those of them that it has not built yet, as far as it said."""
    shares: Counter[tuple[frozenset[HostName], HostName]] = field(default_factory=Counter)
    """Of the routers bound to it, how many fall to each other host, should it die and with it just these standbys."""
    calm_until: float = -inf
    """It took over a while ago: nothing more is built here so long."""
    drains: set[RouterId] = field(default_factory=set)
    """Left it because it is out of service, and their new host has not said yet how that went."""
    drains_at_once: int = DRAINS_AT_ONCE
    """How many of those there may be: as an operator said last, until it is back in service."""

    @property
    def name(self) -> HostName:
        """Its name."""
        return self.facts.name

    def has_copied(self, router_id: RouterId) -> bool | None:
        """Whether it has all of the router's connections, by its last word; None: it does not say, or is not heard."""
        return self.copied.get(router_id) if self.silence.is_alive and self.link.is_open else None

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
    def concerned(self) -> set[RouterId]:
        """Routers for which it matters what becomes of the host: those that it carries, those that leave it, and those
        that it has built still without a right.
        """
        return self.plan.duties.keys() | self.bound | self.letting_go | self.standbys

    @property
    def tenure(self) -> Tenure:
        """The host as it is now."""
        return Tenure(self.name, self.tenures.incarnation)

    @property
    def holds_lease(self) -> bool:
        """Whether guarded routers can be planned for it: it is at the incarnation at which it held its lease last."""
        return self.tenures.has_been_leased and self.lease.counts

    @property
    def is_leaseless(self) -> bool:
        """It is heard, and held no lease for long while others did (`planner.leaseless`)."""
        return self.lease.is_lacking

    @property
    def is_expired(self) -> bool:
        """The arbiters say that it has stopped to renew its lease, and nothing newer is heard of it."""
        return self.tenures.expired >= self.tenures.incarnation

    @property
    def may_be_over(self) -> bool:
        """Nobody is known to hear it renew its lease: the arbiters know whether it is over."""
        return self.is_dead or self.is_leaseless or self.is_expired

    @property
    def is_missed(self) -> bool:
        """The arbiters say that it is over as it is, or that nobody renews it, and nothing newer is heard of it."""
        return self.tenures.is_buried or self.is_expired

    @property
    def is_between_leases(self) -> bool:
        """It was fenced a moment ago, and may hold its lease again in the next: what is built here is worth keeping. It
        says so, or others buried it and it had no time yet to say anything (`planner.leaseless`).
        """
        if self.facts.lease_address is None or self.lease.is_lacking or not self.silence.is_alive:
            return False
        was_just_buried = self.tenures.is_buried and self.lease.buried_at is not None
        return was_just_buried or (self.is_heard and not self.lease.is_held)

    @property
    def follows_panel(self) -> bool:
        """Its guard works from the panel as it is."""
        return self.guard.version >= self.plan.panel_version

    @property
    def is_agentless(self) -> bool:
        """Its agent has not worked for long (`planner.agentless`)."""
        return not self.agent.works

    @property
    def is_dead(self) -> bool:
        """Silent for twice agent_down_time."""
        return self.silence.standing is Standing.DEAD

    @property
    def is_heard(self) -> bool:
        """It speaks now, and hears what is decided."""
        return self.silence.standing is Standing.ALIVE and self.link.is_open

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
        return "" if self.link.is_open else "has no control link"

    @property
    def inability(self) -> str:
        """Why it can neither build nor remove anything now, as a clause; "" if it can."""
        if absence := self.absence:
            return absence
        return "" if self.agent.state is AgentState.RUNNING else "has no running agent"

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
        self._lacking: dict[tuple[frozenset[WayOut], ...], frozenset[HostName]] = {}

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def get(self, name: HostName | None) -> Host | None:
        """None for a name that is not known."""
        return None if name is None else self._hosts.get(name)

    def add(self, host: Host) -> Host:
        """A host is known from now on."""
        host.plan.version += self._forgotten_version
        self._hosts[host.name] = host
        return host

    def forget(self, name: HostName) -> Host | None:
        """A host is not known any more."""
        self.changed_plans.pop(name, None)
        if (host := self._hosts.pop(name, None)) is not None:
            self._forgotten_version = max(self._forgotten_version, host.plan.version)
        return host

    def lacking(self, needs: RouterNeeds, lost: Iterable[WayOut], now: float) -> frozenset[HostName]:
        """Hosts that are not known to have all the ways out that a router uses, which has lost these where it is. To
        find that out is to look at every host, so it is done once for all routers of which both are the same, until
        `looks_begin`.
        """
        key = ways, gone = needs.ways, frozenset(lost)
        if (found := self._lacking.get(key)) is None:
            found = frozenset(host.name for host in self if not host.ways.has(ways, gone, now))
            self._lacking[key] = found
        return found

    def looks_begin(self) -> None:
        """Something may have become otherwise since routers were last looked at."""
        self._lacking.clear()

    def plan(self, name: HostName, router_id: RouterId, duty: Duty, *, reason: str, unsent: bool) -> bool:
        """The host has this duty; false if it had it before, or is not known."""
        host = self._hosts.get(name)
        if host is None or not host.plan.put(router_id, duty, unsent=unsent):
            return False
        self.changed_plans.setdefault(name, reason)
        return True

    def plan_version(self, name: HostName) -> int:
        """The version of its plan; 0 for a host that is not known."""
        host = self._hosts.get(name)
        return 0 if host is None else host.plan.version

    def unplan(self, name: HostName | None, router_id: RouterId, *, reason: str) -> Duty | None:
        """The host has nothing to do with the router (any more); what it had to do with it."""
        host = self.get(name)
        if host is None or (duty := host.plan.drop(router_id)) is None:
            return None
        self.changed_plans.setdefault(host.name, reason)
        return duty

    def touch(self, name: HostName | None, router_id: RouterId) -> None:
        """The router is another than before; if the host should run it, it should hear so."""
        host = self.get(name)
        if host is not None and host.plan.touch(router_id):
            self.changed_plans.setdefault(host.name, f"router {router_id} changed")
