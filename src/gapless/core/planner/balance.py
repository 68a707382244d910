"""Which routers should change hosts so that all hosts have about as many active: what `gapless rebalance` asks for.

The rule: only guarded routers move, as they are built on the other host before they leave; those first whose standby
there is ready; and only as long as the two hosts are further apart than one router. So it ends, and asking again where
it ended moves nothing.

Nothing is decided here by itself: a router that forwards stays where it is until somebody asks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.moves import AssignmentState
from gapless.core.ledger.routers import RouterRecord
from gapless.core.planner import drains
from gapless.core.planner.placement import objection
from gapless.model.host import HostName
from gapless.model.router import RouterId

_Way = tuple[HostName, HostName]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A router that should go to another host, which is ready to have it, or has to build it first."""

    router_id: RouterId
    from_host: HostName
    to_host: HostName
    is_ready: bool


def shifts(ledger: Ledger) -> list[Shift]:
    """All that is to be moved now, what helps most first, of that what is ready."""
    able = {host.name: host for host in ledger.fleet if not (host.unavailing or host.inability)}
    active = {name: len(host.bound) for name, host in able.items()}
    choices = _choices(ledger, able, active)
    ways = [(_nearness(way, active), way) for way in choices]
    heapify(ways)
    found, gone = [], set[RouterId]()
    while (way := _furthest(ways, choices, active, gone)) is not None:
        has_to_build, router_id = choices[way].pop()
        from_host, to_host = way
        found.append(Shift(router_id=router_id, from_host=from_host, to_host=to_host, is_ready=not has_to_build))
        gone.add(router_id)
        active[from_host] -= 1
        active[to_host] += 1
    return found


def _choices(
    ledger: Ledger, able: dict[HostName, Host], active: dict[HostName, int]
) -> dict[_Way, list[tuple[bool, RouterId]]]:
    """From a host with more than its share to one with less: whether it has to build first, and the router, of all that
    could go; what goes first comes last.
    """
    share = sum(active.values()) / max(1, len(active))
    poor = [host for name, host in able.items() if active[name] < share]
    choices: dict[_Way, list[tuple[bool, RouterId]]] = {}
    for router in _resting(ledger, [name for name in able if active[name] > share]):
        ready, avoid = drains.switchover_to(ledger, router), router.hosts.waiting(ledger.now)
        for host in poor:
            has_it = router.succession.right_of(host.name) is not None
            if not objection(host, router.needs, avoid, has_it=has_it):
                assert router.host is not None
                choices.setdefault((router.host, host.name), []).append((host.name != ready, router.id))
    for routers in choices.values():
        routers.sort(reverse=True)
    return choices


def _resting(ledger: Ledger, hosts: list[HostName]) -> Iterator[RouterRecord]:
    """Guarded routers of these hosts for which nothing is under way, and of which nothing is asked."""
    for name in hosts:
        host = ledger.fleet.get(name)
        for router_id in sorted(host.bound if host is not None else ()):
            router = ledger.routers[router_id]
            if router.is_guarded and router.state is AssignmentState.ACTIVE and not (router.asked or router.wanted):
                yield router


def _furthest(
    ways: list[tuple[int, _Way]],
    choices: dict[_Way, list[tuple[bool, RouterId]]],
    active: dict[HostName, int],
    gone: set[RouterId],
) -> _Way | None:
    """The two hosts that are furthest apart, of those between which a router can go; None: none is worth it.

    `ways` is a heap. Hosts with more than their share only lose, those with less only gain, so no two come further
    apart: a way may be in the heap too early, and never too late. With all ways looked at for each router, thirty
    thousand routers would keep the controller from everything else for a minute and more.
    """
    while ways:
        noted, way = ways[0]
        nearness, routers = _nearness(way, active), choices[way]
        while routers and routers[-1][1] in gone:
            routers.pop()
        if not routers or nearness >= -1:
            heappop(ways)
        elif nearness != noted:
            heapreplace(ways, (nearness, way))
        else:
            return way
    return None


def _nearness(way: _Way, active: dict[HostName, int]) -> int:
    """How many more the one has that gets a router than the one that gives it: the further below 0, the better."""
    from_host, to_host = way
    return active[to_host] - active[from_host]
