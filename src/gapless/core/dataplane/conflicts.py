"""Whether another machine on an external network uses an address that a router of this host has there. Pure.

Theory: RFC 5227, 2.4. An ARP frame whose sender address is ours and whose sender hardware address is not is a conflict,
request or reply. What the RFC has the owner do next, defend the address or give it up, is not done: both would be a
quarrel about a tenant's traffic. It is said who it is, and people decide.

The rule: a router has one MAC address on its external network, that of its gateway port, on whatever host it is, for
floating IPs too. So what the active router, its other hosts and a takeover send is never a conflict. Neither is what
lasts shorter than `SETTLE_S`: a floating IP that goes to another router, on another host, is announced there
while the plan that takes it away here may be on its way.

Known is every router of the plan, standbys too; said is only what concerns one that is active here. So a standby that
takes over knows already.

Invariant: what is kept grows with the plan's addresses, never with what is heard. Of each address one MAC address is
named, the first; the others are counted. One of them is named in its place when the first has been quiet for `QUIET_S`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from math import inf

from gapless.model.network import Network, NetworkId
from gapless.model.plan import PlannedRouter
from gapless.model.router import Gateway, Router, RouterId
from gapless.model.sender import Conflict, Owner, Sender

SETTLE_S = 5.0
"""What is a conflict still so long after it was heard first is one."""
QUIET_S = 300.0
"""A machine that has the address speaks up now and then; how often is its own business."""

_Place = tuple[NetworkId, IPv4Address]


@dataclass(slots=True)
class _Known:
    """Of one address: who else has it."""

    owner: Owner
    mac: str
    since: float
    heard_at: float
    """When a frame with this `mac` was heard last."""
    other: str = ""
    """The last one with yet another MAC address, and when it was heard."""
    other_at: float = -inf
    frames: int = 0
    by_others: int = 0
    is_said: bool = False

    def hear(self, sender: Sender, now: float) -> None:
        self.frames += sender.frames
        if sender.mac == self.mac:
            self.heard_at = now
        else:
            self.other, self.other_at = sender.mac, now
            self.by_others += sender.frames


class Conflicts:
    """What is heard against what is planned. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self.watched: Mapping[Network, frozenset[IPv4Address]] = {}
        """The addresses of the plan, by external network."""
        self._owners: dict[_Place, Owner] = {}
        self._active: frozenset[RouterId] = frozenset()
        self._known: dict[_Place, _Known] = {}
        self._news: list[Conflict] = []

    def take_plan(self, routers: Iterable[PlannedRouter]) -> None:
        """The routers of this host from now on. What was known of an address stays, as long as its owner does."""
        planned = list(routers)
        up = [each.router for each in planned if each.router.admin_up]
        outside = [(router, router.gateway) for router in up if router.gateway is not None]
        self._active = frozenset(each.router.id for each in planned if each.forwards)
        self._owners = {
            (gateway.port.network.id, address): Owner(router_id=router.id, mac=gateway.port.mac)
            for router, gateway in outside
            for address in _addresses(router, gateway)
        }
        self._known = {at: it for at, it in self._known.items() if self._owners.get(at) == it.owner}
        networks = {gateway.port.network.id: gateway.port.network for _, gateway in outside}
        addresses: dict[NetworkId, set[IPv4Address]] = {network_id: set() for network_id in networks}
        for network_id, address in self._owners:
            addresses[network_id].add(address)
        self.watched = {networks[each]: frozenset(those) for each, those in addresses.items()}

    def take(self, senders: Iterable[Sender], now: float) -> dict[RouterId, str]:
        """Who was heard since the last call. Returns why routers that are active here ail, of all that do."""
        for sender in senders:
            place = (sender.network_id, sender.address)
            owner = self._owners.get(place)
            if owner is not None and owner.mac != sender.mac:
                self._hear(place, owner, sender, now)
        for place, known in list(self._known.items()):
            self._judge(place, known, now)
        return self._ailments()

    def take_news(self) -> list[Conflict]:
        """What is to be said once, since the last call."""
        news, self._news = self._news, []
        return news

    def _hear(self, place: _Place, owner: Owner, sender: Sender, now: float) -> None:
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = _Known(owner=owner, mac=sender.mac, since=now, heard_at=now)
        known.hear(sender, now)

    def _judge(self, place: _Place, known: _Known, now: float) -> None:
        is_active = known.owner.router_id in self._active
        if now - known.heard_at >= QUIET_S:
            if known.is_said and is_active:
                self._say(place, known, is_over=True)
            del self._known[place]
            if now - known.other_at >= QUIET_S:
                return
            known = _Known(owner=known.owner, mac=known.other, since=known.since, heard_at=known.other_at)
            self._known[place] = known
        if is_active and not known.is_said and now - known.since >= SETTLE_S:
            self._say(place, known)
        known.is_said = is_active and now - known.since >= SETTLE_S

    def _say(self, place: _Place, known: _Known, *, is_over: bool = False) -> None:
        news = Conflict(
            router_id=known.owner.router_id,
            address=place[1],
            mac=known.mac,
            is_over=is_over,
            frames=known.frames,
            by_others=known.by_others,
        )
        self._news.append(news)

    def _ailments(self) -> dict[RouterId, str]:
        found: dict[RouterId, list[tuple[IPv4Address, str]]] = {}
        for (_, address), known in self._known.items():
            if known.is_said:
                found.setdefault(known.owner.router_id, []).append((address, known.mac))
        return {router_id: _ailment(sorted(those)) for router_id, those in found.items()}


def _addresses(router: Router, gateway: Gateway) -> Iterator[IPv4Address]:
    yield from (each.ip for each in gateway.port.addresses)
    yield from (each.address for each in router.floating_ips)


def _ailment(conflicts: list[tuple[IPv4Address, str]]) -> str:
    (address, mac), *others = conflicts
    more = f" ({len(others)} more of its addresses are used elsewhere too)" if others else ""
    return f"{address} is also used by {mac}: what is sent to it may arrive there, and not at this router{more}"
