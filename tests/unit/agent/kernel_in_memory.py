"""A kernel that runs in memory: it keeps routers, can fail the next call, and can be held in the middle of one."""

import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface

from gapless.agent.reconcile import Outcome
from gapless.errors import Unavailable
from gapless.model.neighbour import Neighbour, Reach, WayOut
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.plan import Epoch, PlannedRouter
from gapless.model.router import Gateway, Router, RouterId, RouterPort
from gapless.model.sender import Sender

PATIENCE_S = 20.0


def planned(router_id: str, epoch: int = 1, name: str = "", network: str | None = None) -> PlannedRouter:
    """A router of a plan; `name` is content that may change, `network` plugs it in."""
    ports = ()
    if network is not None:
        segment = Network(id=NetworkId(network), type=NetworkType.VXLAN, mtu=1450, segmentation_id=7)
        address = IPv4Interface("10.0.0.1/24")
        ports = (
            RouterPort(id=PortId(f"port-{router_id}"), network=segment, mac="fa:16:3e:00:00:01", addresses=(address,)),
        )
    return PlannedRouter(router=Router(id=RouterId(router_id), name=name, ports=ports), epoch=Epoch(epoch))


def with_gateway(router_id: str, epoch: int = 1) -> PlannedRouter:
    """A router of a plan that has a way out."""
    outside = Network(id=NetworkId("outside"), type=NetworkType.FLAT, mtu=1500, physical_network="external")
    address = IPv4Interface("203.0.113.10/24")
    port = RouterPort(id=PortId(f"out-{router_id}"), network=outside, mac="fa:16:3e:00:00:02", addresses=(address,))
    gateway = Gateway(port=port, next_hop=IPv4Address("203.0.113.1"), snat=True)
    return PlannedRouter(router=Router(id=RouterId(router_id), name="", gateway=gateway), epoch=Epoch(epoch))


@dataclass
class FakeKernel:
    """Implements `agent.driver.Kernel`. `record` has one line a call, in the order in which calls began and ended."""

    routers: dict[RouterId, Router] = field(default_factory=dict)
    record: list[str] = field(default_factory=list)
    _failures: dict[str, list[str]] = field(default_factory=dict)
    _gates: dict[str, threading.Event] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False
    portions: int = 1
    """How many there are of the next sweep."""
    silent: set[RouterId] = field(default_factory=set)
    """Routers that their gateways do not answer."""
    heard: list[Sender] = field(default_factory=list)
    """Who uses routers' addresses, again and again."""

    # --- what a test does to it

    def fail_next(self, call: str, reason: str = "the kernel said no") -> None:
        """The next `call`, such as "reconcile r1", raises Unavailable."""
        self._failures.setdefault(call, []).append(reason)

    def hold(self, call: str) -> threading.Event:
        """Calls of this kind wait in the middle until the event is set."""
        return self._gates.setdefault(call, threading.Event())

    def wait_for(self, line: str, count: int = 1) -> None:
        """Return once `record` has `line` so many times."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.record.count(line) >= count, PATIENCE_S), (
                f"never seen {count} times: {line!r}; seen: {self.record}"
            )

    # --- the kernel

    def running(self) -> frozenset[RouterId]:
        with self._changed:
            return frozenset(self.routers)

    def reconcile(self, router: Router, guarded: bool = False) -> Outcome:
        began = time.monotonic()
        self._note(f"reconcile {router.id}")
        with self._changed:
            before = self.routers.get(router.id)
            self.routers[router.id] = before or Router(id=router.id, name="half-built")
        self._suffer(f"reconcile {router.id}")
        with self._changed:
            self.routers[router.id] = router
        looked = time.monotonic()
        self._note(f"reconciled {router.id} {router.name}".rstrip())
        ended = time.monotonic()
        return Outcome(
            changed=before != router,
            announced=before != router,
            started_s=began,
            built_s=ended,
            announced_s=ended,
            looked_s=looked,
            verified_s=ended,
        )

    def remove_together(self, router_ids: Sequence[RouterId]) -> dict[RouterId, str]:
        left = {}
        for router_id in router_ids:
            self._note(f"remove {router_id}")
            try:
                self._suffer(f"remove {router_id}")
            except Unavailable as error:
                left[router_id] = str(error)
                continue
            with self._changed:
                self.routers.pop(router_id, None)
            self._note(f"removed {router_id}")
        return left

    def sweep(self, keep: Iterable[Network], *, most: int, is_first: bool) -> bool:
        self._note(f"sweep but {' '.join(sorted(network.id for network in keep))}".rstrip())
        self._suffer("sweep")
        self.portions -= 1
        return self.portions > 0

    def gateways(self, ways: Sequence[WayOut]) -> dict[RouterId, Neighbour]:
        self._note(f"look at {' '.join(way.router_id for way in ways)}")
        heard = Neighbour(reach=Reach.HEARD, mac="02:00:00:00:00:01", confirmed_ago_s=0.0)
        lost = Neighbour(reach=Reach.SILENT)
        return {way.router_id: lost if way.router_id in self.silent else heard for way in ways}

    def senders(self, watched: Mapping[Network, Collection[IPv4Address]]) -> list[Sender]:
        for those in watched.values():
            self._note(f"hear {' '.join(map(str, sorted(those)))}")
        self._suffer("hear")
        addresses = {(network.id, address) for network, those in watched.items() for address in those}
        return [each for each in self.heard if (each.network_id, each.address) in addresses]

    def close(self) -> None:
        self.closed = True

    def _note(self, line: str) -> None:
        with self._changed:
            self.record.append(line)
            self._changed.notify_all()

    def _suffer(self, call: str) -> None:
        gate = self._gates.get(call)
        if gate is not None:
            assert gate.wait(PATIENCE_S), f"nobody let go of {call}"
        reasons = self._failures.get(call)
        if reasons:
            raise Unavailable(reasons.pop(0))
