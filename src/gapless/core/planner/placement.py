"""Which host a router goes to, and which stands by for it, and why; or, for each host, why not.

The rule, as Neutron's least-routers scheduler with availability zones: of the hosts that can take it, the one with the
fewest routers, those that it stands by for included; of equals, the one with the fewest active, so that two hosts that
stand by for each other share them; then the first by name. Zone hints are not a preference: a hinted zone or none. What
is being stored counts as carried, so a hundred routers that move at once spread as evenly as a hundred that move one by
one.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace

from gapless.core.events import RouterNeeds
from gapless.core.ledger.fleet import Host
from gapless.model.host import HostName
from gapless.model.router import FailoverMode
from gapless.model.way import WayOut

NAMED_AT_MOST = 5
"""Hosts named for one reason; the others are counted."""


_Kind = tuple[tuple[str, ...], frozenset[str], WayOut | None, bool, bool, bool]
_Loads = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The answer, and its reason: why this host, or why none."""

    host: Host | None
    reason: str


class Placing:
    """The placements of one turn of the planner, in which what hosts can do stays the same, and only loads grow.

    So hosts that suit one kind of router are found once and kept in a heap by load: a host's death that moves R routers
    among H hosts costs about H + R log H, not R times H.
    """

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._hosts = tuple(hosts)
        self._able: dict[_Kind, list[tuple[_Loads, HostName, Host]]] = {}
        self._nobody: dict[tuple[_Kind, HostName | None, frozenset[HostName]], str] = {}

    def place(
        self,
        needs: RouterNeeds,
        *,
        leaving: HostName | None,
        avoid: Collection[HostName] = frozenset(),
        is_urgent: bool = False,
    ) -> Placement:
        """Choose a host. `leaving` is not looked at; hosts in `avoid` failed with this router a short while ago.
        `is_urgent`: it runs nowhere, so any host that could build it now will do.
        """
        able, skipped = self._heap(needs, is_urgent), list[tuple[_Loads, HostName, Host]]()
        while able:
            loads, name, host = able[0]
            if host.is_full:
                heappop(able)
            elif host.loads != loads:
                heapreplace(able, (host.loads, name, host))
            elif name == leaving or name in avoid:
                skipped.append(heappop(able))
            else:
                placement = Placement(host=host, reason=_praise(host, len(able)))
                break
        else:
            why = self._why_nobody(needs, leaving, frozenset(avoid), is_urgent)
            placement = Placement(host=None, reason=why)
        for entry in skipped:
            heappush(able, entry)
        return placement

    def _heap(self, needs: RouterNeeds, is_urgent: bool) -> list[tuple[_Loads, HostName, Host]]:
        kind = _kind(needs, is_urgent)
        if kind not in self._able:
            suited = (host for host in self._hosts if not objection(host, needs, is_urgent=is_urgent))
            able = [(host.loads, host.name, host) for host in suited]
            heapify(able)
            self._able[kind] = able
        return self._able[kind]

    def _why_nobody(
        self, needs: RouterNeeds, leaving: HostName | None, avoid: frozenset[HostName], is_urgent: bool
    ) -> str:
        key = (_kind(needs, is_urgent), leaving, avoid)
        if key not in self._nobody:
            others = [host for host in self._hosts if host.name != leaving]
            objections = [(objection(host, needs, avoid, is_urgent=is_urgent), host.name) for host in others]
            nobody = "there is no other host" if leaving is not None else "no host has connected yet"
            self._nobody[key] = _enumerate(objections) or nobody
        return self._nobody[key]


def _kind(needs: RouterNeeds, is_urgent: bool = False) -> _Kind:
    """Routers of one kind suit the same hosts."""
    is_guarded = needs.mode is FailoverMode.STANDBY
    asked = needs.availability_zone_hints, needs.physical_networks, needs.gateway
    return *asked, needs.needs_vxlan, is_guarded, is_urgent


def _praise(host: Host, able: int) -> str:
    others = "the only host that can take it" if able == 1 else f"the fewest routers of {able} hosts that can take it"
    return f"{host.name} has {host.load} of {host.facts.capacity} routers: {others}"


def objection(
    host: Host,
    needs: RouterNeeds,
    avoid: Collection[HostName] = (),
    *,
    has_it: bool = False,
    is_urgent: bool = False,
) -> str:
    """Why this host cannot take the router now, as a clause that follows its name; "" if it can.

    `has_it`: it stands by for the router, so it has room for it. `is_urgent`: an agent that runs just now is enough.
    """
    facts = host.facts
    if host.unavailing:
        return host.unavailing
    if host.inability:
        return host.inability
    if needs.mode is FailoverMode.STANDBY and host.is_expired:
        return "does not renew its lease any more"
    if host.is_agentless and not is_urgent:
        return "has an agent that does not go on running"
    if not facts.capacity:
        return "carries no routers"
    if host.is_full and not has_it:
        return f"is full ({host.load} of {facts.capacity})"
    return misfit(host, needs) or ("could not run it a short while ago" if host.name in avoid else "")


def misfit(host: Host, needs: RouterNeeds) -> str:
    """Why this router does not fit this host, whatever else is there, as a clause; "" if it does."""
    facts = host.facts
    if needs.mode is FailoverMode.STANDBY and not host.holds_lease:
        return "holds no lease" if facts.lease_address is not None else "takes no part in leases"
    if needs.availability_zone_hints and facts.availability_zone not in needs.availability_zone_hints:
        return f"is in zone {facts.availability_zone}, not in {' or '.join(sorted(needs.availability_zone_hints))}"
    if missing := needs.physical_networks.difference(facts.physical_networks):
        return f"is not plugged into {' and '.join(sorted(missing))}"
    if lost := _lost_ways(host, needs):
        return f"has lost its way out: {lost}"
    if needs.needs_vxlan and facts.data_address is None:
        return "has no data address for VXLAN"
    return ""


def _lost_ways(host: Host, needs: RouterNeeds) -> str:
    """What the host has lost of what the router uses; of a host that says only in words what it has lost, those."""
    if host.ways.known_since is None:
        return host.uplink_trouble if needs.physical_networks else ""
    return ", ".join(map(str, host.ways.lost_of(needs)))


STANDBYS_AT_ONCE = 4
"""Standbys that a host builds at a time: they must not get in the way of what runs there."""


class StandbyPlacing:
    """The choices of standbys for as long as what hosts can do stays the same: in one turn of the planner, and in those
    that follow for what the store answers, which after a death are hundreds.

    So the hosts that suit one kind of router are found once, as in `Placing`, and a host that has enough to build, or
    has just taken over, is not looked at again.
    """

    def __init__(self, hosts: Iterable[Host], now: float) -> None:
        self._hosts = tuple(hosts)
        self._now = now
        self._able: dict[_Kind, list[Host]] = {}
        self._ready: dict[_Kind, list[Host]] = {}
        self._nobody: dict[tuple[_Kind, frozenset[HostName | None], frozenset[HostName]], str] = {}

    def place(
        self,
        needs: RouterNeeds,
        home: Host,
        *,
        ranked: frozenset[HostName] = frozenset(),
        instead_of: HostName | None,
        avoid: Collection[HostName],
    ) -> tuple[Placement, bool]:
        """Choose the host that stands by for a router on `home`, after those that are `ranked` already; and whether
        waiting for a turn would help.

        The rule: when a host dies, each of the others gets as many of its routers as any other; and when that one dies
        with it which they would fall to first, each that is left gets as many of those. So of the hosts that can take
        it, those in another zone than `home` come first, then those to which the fewest of its routers fall that way,
        then those with the fewest routers of all kinds. The first standby does not wait until the best of them has
        time; those after it do.
        """
        kind = _kind(needs)
        if kind not in self._able:
            # Whether there is room is looked at each time: what the store answers may make some.
            self._able[kind] = [host for host in self._hosts if not objection(host, needs, has_it=True)]
            self._ready[kind] = self._able[kind]
        ready = self._ready[kind] = [
            host
            for host in self._ready[kind]
            if len(host.preparing) < STANDBYS_AT_ONCE and host.calm_until <= self._now
        ]
        excluded = {home.name, instead_of, *ranked, *avoid}

        def suits(host: Host) -> bool:
            return host.name not in excluded and not host.is_full

        able = self._able[kind]
        if chosen := [host for host in (able if ranked else ready) if suits(host)]:
            zone, shares = home.facts.availability_zone, home.shares
            best = min(
                chosen,
                key=lambda each: (
                    each.facts.availability_zone == zone,
                    shares[ranked, each.name],
                    each.load,
                    each.name,
                ),
            )
            if _is_among(best, ready):
                praise = _praise(best, len(able) - _is_among(home, able))
                return Placement(host=best, reason=praise), False
        if any(suits(host) for host in able):
            return Placement(host=None, reason="hosts that can stand by build others first"), True
        reason = self._why_nobody(needs, ranked | {home.name, instead_of}, frozenset(avoid))
        return Placement(host=None, reason=reason), False

    def _why_nobody(self, needs: RouterNeeds, taken: frozenset[HostName | None], avoid: frozenset[HostName]) -> str:
        key = (_kind(needs), taken, avoid)
        if key not in self._nobody:
            others = [host for host in self._hosts if host.name not in taken]
            objections = [(objection(host, needs, avoid), host.name) for host in others]
            self._nobody[key] = _enumerate(objections) or "there is no other host"
        return self._nobody[key]


def _is_among(host: Host, hosts: Iterable[Host]) -> bool:
    """Whether it is one of them; to compare two hosts would be to compare all that is known of both."""
    return any(each is host for each in hosts)


def _enumerate(objections: list[tuple[str, HostName]]) -> str:
    """`h2 and h5 are ...` would need grammar for each reason, so: `h2, h5: is dead; h3: is full (10 of 10)`."""
    hosts_by_reason: dict[str, list[HostName]] = {}
    for said, name in sorted(objections):
        hosts_by_reason.setdefault(said, []).append(name)
    clauses = []
    for said, names in hosts_by_reason.items():
        if len(names) == 1:
            clauses.append(f"{names[0]} {said}")
        else:
            more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
            clauses.append(f"{', '.join(names[:NAMED_AT_MOST])}{more}: each {said}")
    return "; ".join(clauses)
