"""Carries operations out: requests to one socket travel together, in order; the first failure stops the plan.

Invariant: operations take effect in the order given, whatever is batched; but flows without an answer are forgotten
last, when whatever else there is was done and looked at.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, assert_never

from gapless.agent.kernel import (
    arp,
    conntrack,
    linkrequests,
    links,
    netns,
    portentries,
    routing,
    sysctls,
    tables,
    vxlandevices,
)
from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.observe import Inside
from gapless.core.dataplane.desired import SETTINGS
from gapless.errors import InvariantError, Unavailable
from gapless.kernel import refusals
from gapless.kernel.netlink import Netlink, Request
from gapless.kernel.transactions import Transactions
from gapless.model.observed import BRIDGE_PREFIX, GUARDED_GROUP, UNANNOUNCED_GROUP, Ruleset
from gapless.model.operation import (
    AddAddress,
    AddRoute,
    Announce,
    AttachJoint,
    AttachSteering,
    ChangeGuard,
    ChangeHostMtu,
    ChangeLink,
    ChangePeers,
    ChangeSettings,
    ClaimNamespace,
    CreateBridge,
    CreateJoint,
    CreateNamespace,
    CreatePair,
    CreateVxlan,
    DeleteHostLink,
    DeleteLink,
    ForgetFlows,
    ForgetUnansweredFlows,
    HostOperation,
    InsideOperation,
    LoadRules,
    MarkUnannounced,
    Operation,
    Plug,
    RaiseHostLink,
    RaiseLink,
    RemoveAddress,
    RemoveRoute,
    RestoreConnected,
    RestoreRoutingRules,
    Steer,
    SteeringOperation,
    TurnOffIpv6,
    Unsteer,
)

_CARRIER_TIMEOUT_S: Final = 2.0
"""A worker of the kernel tells of carriers, usually within some milliseconds; on a machine that is overloaded later."""
_CARRIER_POLL_S: Final = 0.001
_GIVEN_BACK_MOST: Final = 3


class Load(Protocol):
    """`agent.rules.Rules.load`, of one router."""

    def __call__(
        self, rules: Ruleset, opened: Callable[[], Transactions], opened_for_text: Callable[[], Nft], *, replace: bool
    ) -> None:
        """Load rules, in place of those that are there or where there are none. Raises Unavailable with the reason."""


class HostHands:
    """Carries out operations in the host's namespace."""

    def __init__(self, host: Netlink) -> None:
        self.netlink = host
        self._pending: list[Request] = []
        self._without_ipv6: list[str] = []
        self._indices: dict[str, int] = {}

    def flush(self) -> None:
        """Send what is pending. Raises Unavailable with the first failure."""
        if not self._pending and not self._without_ipv6:
            return
        pending, self._pending = self._pending, []
        without_ipv6, self._without_ipv6 = self._without_ipv6, []
        self.netlink.carry_out(pending)
        # An address of its own would make a bridge port speak (duplicate detection, multicast reports) on its network.
        with refusals.told(f"keep {', '.join(without_ipv6)} without IPv6 addresses"):
            sysctls.write({f"ipv6/conf/{name}/disable_ipv6": "1" for name in without_ipv6})

    def carry_out(
        self,
        operation: HostOperation,
    ) -> None:
        """Carry out, at the latest when flushed."""
        match operation:
            case CreateBridge(name=name, mtu=mtu, network_id=network_id):
                self.add_new(name, linkrequests.create_bridge(name, f"{links.OUR_MARK}{network_id}", mtu))
            case CreateVxlan(vxlan=vxlan, bridge=bridge, mtu=mtu, network_id=network_id):
                mark = f"{links.OUR_MARK}{network_id}"
                bridge_index, device_index = self.index_of(bridge), self.index_of(vxlan.device)
                self.add_new(vxlan.name, vxlandevices.create(vxlan, mark, mtu, bridge_index, device_index))
            case CreateJoint():
                self._create_joint(operation)
            case AttachJoint(name=name, mac=mac):
                index = self.index_of(name)
                self._pending.append(portentries.send_to_port(name, index, mac))
            case ChangePeers(vxlan=name, add=add, remove=remove):
                index = self.index_of(name)
                self._pending += [vxlandevices.add_flood_peer(name, index, peer) for peer in sorted(add)]
                self._pending += [vxlandevices.remove_flood_peer(name, index, peer) for peer in sorted(remove)]
            case DeleteHostLink(name=name):
                self._pending.append(linkrequests.delete(name))
                self._indices.pop(name, None)
            case ChangeHostMtu(name=name, mtu=mtu):
                self._pending.append(linkrequests.set_mtu(name, mtu))
            case TurnOffIpv6(name=name):
                self._without_ipv6.append(name)
            case Plug(name=name, bridge=bridge):
                index = self.index_of(bridge)
                self._pending.append(linkrequests.set_master(name, index))
            case ChangeGuard(name=name, guarded=guarded):
                self._pending.append(linkrequests.set_group(name, GUARDED_GROUP if guarded else 0))
            case AttachSteering(name=name, mac=mac):
                index = self.index_of(name)
                self._pending += [portentries.send_to_port(name, index, mac), linkrequests.keep_multicasts_from(name)]
            case RaiseHostLink(name=name):
                if self._without_ipv6:
                    self.flush()
                is_bridge = name.startswith(BRIDGE_PREFIX)
                self._pending.append((linkrequests.raise_bridge if is_bridge else linkrequests.raise_link)(name))
            case _:
                assert_never(operation)

    def _create_joint(self, joint: CreateJoint) -> None:
        root_index, leaf_index = self.index_of(joint.root), self.index_of(joint.leaf)
        requests = linkrequests.create_joint(
            name=joint.name,
            mac=joint.mac,
            root_index=root_index,
            other=joint.leaf_end,
            other_mac=joint.leaf_end_mac,
            mark=f"{links.OUR_MARK}{joint.network_id}",
            mtu=joint.mtu,
        )
        self.add_new(joint.name, requests)
        self.add_new(joint.leaf_end, [linkrequests.set_master(joint.leaf_end, leaf_index)])

    def add_new(self, name: str, requests: Iterable[Request]) -> None:
        """Make a link of ours by `requests`."""
        self._pending += requests
        self._without_ipv6.append(name)

    def index_of(self, name: str) -> int:
        """A link's index; what is pending is sent first where it is not known. Raises Unavailable without one."""
        if name not in self._indices:
            self.flush()
            self._indices |= links.indices(self.netlink, [name])
        if name not in self._indices:
            raise Unavailable(f"there is no interface {name} on this host")
        return self._indices[name]

    def look_up(self, names: Iterable[str]) -> None:
        """Learn the indices of these links at once, as far as they exist."""
        if wanted := sorted(set(names) - self._indices.keys()):
            self._indices |= links.indices(self.netlink, wanted)

    def await_carrier(self, names: Iterable[str]) -> None:
        """Wait until frames pass through these taps: the kernel switches a bridge port on a little after the link.

        Raises Unavailable when that takes more than 2 s.
        """
        waiting = sorted(set(names))
        deadline = time.monotonic() + _CARRIER_TIMEOUT_S
        while waiting:
            passing = links.operational(self.netlink, waiting)
            waiting = [name for name in waiting if name not in passing]
            if waiting and time.monotonic() > deadline:
                raise Unavailable(f"{', '.join(waiting)} passes no frames: its other end or its bridge is down")
            if waiting:
                time.sleep(_CARRIER_POLL_S)


class RouterHands:
    """Carries out one router's operations, on the host and in its namespace."""

    def __init__(
        self,
        host: Netlink,
        path: Path,
        mark: str,
        announce: Callable[[socket.socket | None, list[Announce]], None],
        steer: Callable[[SteeringOperation], None],
        follow: Callable[[], None],
        *,
        give_back: Callable[[], bool],
        load: Load,
        let_go: Callable[[Inside, bool], None],
        announces: bool = True,
    ) -> None:
        """`mark`: the id that its taps carry. `announce` is given a plan's announcements and, if it `announces` them, a
        socket, which takes a grace period of the kernel to close.

        `steer` changes the host's steering table. `follow` is called before a namespace is looked at, and when one was
        made: from then on what happens in it is to be heard. `give_back` gives a namespace that is held its name again,
        and says whether it did. `load` loads its rules. `let_go` is given the sockets of a router whose rules were
        mended, and whether flows without an answer are to be forgotten by them.
        """
        self.inside: Inside | None = None
        self._host = HostHands(host)
        self._path = path
        self._mark = mark
        self._announce = announce
        self._announces = announces
        self._steer = steer
        self._follow = follow
        self._give_back = give_back
        self.was_given_back = False
        """It had lost its name."""
        self._load = load
        self._let_go = let_go
        self._pending: list[Request] = []
        self._announcements: list[Announce] = []
        self._indices: dict[str, int] = {}
        self._namespace: int | None = None
        self._is_new = self._closes_slowly = self._forgets_unanswered = False

    def __enter__(self) -> Self:
        self._follow()
        self.inside = self._entered() or self._entered_by_its_name_again()
        return self

    def _entered_by_its_name_again(self) -> Inside | None:
        """None: nobody holds the namespace, if there is one."""
        for _ in range(_GIVEN_BACK_MOST):
            given_back = self._give_back()
            inside = self._entered()  # Also where it was not: a listing of routers may have done it just now.
            self.was_given_back |= given_back
            if inside is not None or not given_back:
                return inside
        raise Unavailable(f"the name of {self._path.name} is deleted again and again")

    def _entered(self) -> Inside | None:
        try:
            return netns.enter(self._path, Inside.opened)
        except FileNotFoundError:
            return None

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._namespace is not None:
            os.close(self._namespace)
        if self.inside is None:
            return
        if self._closes_slowly or self._forgets_unanswered:
            self._let_go(self.inside, self._forgets_unanswered)
        else:
            self.inside.close()

    def carry_out(self, operations: Iterable[Operation]) -> None:
        """Carry out in order. Raises Unavailable with the first failure; what came before it stays done."""
        plan = tuple(operations)
        self._host.look_up({operation.bridge for operation in plan if isinstance(operation, CreatePair | Plug)})
        for operation in plan:
            match operation:
                case CreateNamespace(settings=settings):
                    opened = partial(Inside.opened_to_build, announces=self._announces)
                    self.inside = netns.create(self._path, settings, opened)
                    self._is_new = True
                    self._follow()
                case ClaimNamespace():
                    self._queue_inside(linkrequests.mark_loopback(netns.MARK))
                case CreatePair():
                    self._create_pair(operation)
                case (
                    CreateBridge()
                    | CreateVxlan()
                    | CreateJoint()
                    | AttachJoint()
                    | ChangePeers()
                    | DeleteHostLink()
                    | ChangeHostMtu()
                    | TurnOffIpv6()
                    | Plug()
                    | ChangeGuard()
                    | AttachSteering()
                    | RaiseHostLink()
                ):
                    self._flush_inside()
                    self._host.carry_out(operation)
                case Steer() | Unsteer():
                    self._flush()
                    self._steer(operation)
                case _:
                    self._carry_out_inside(operation)
        self._flush()
        self._flush_announcements()

    def _carry_out_inside(self, operation: InsideOperation) -> None:
        match operation:
            case ChangeSettings(settings=settings):
                self._flush()
                self._inside().settings = netns.enter(self._path, lambda: _changed(settings))
            case LoadRules(ruleset=rules, replace=replace):
                self._flush()
                self._closes_slowly |= replace or not self._is_new
                self._load(rules, self._transactions, self._nft, replace=replace)
            case ForgetFlows(address=address):
                self._flush()
                conntrack.forget_address(self._inside().tables, address)
            case ForgetUnansweredFlows():
                self._forgets_unanswered = True
            case DeleteLink(link=link):
                self._queue_inside(linkrequests.delete(link))
                self._indices.pop(link, None)
            case ChangeLink(link=link, mac=mac, mtu=mtu):
                self._queue_inside(linkrequests.set_mac(link, mac))
                self._queue_inside(linkrequests.set_mtu(link, mtu))
            case AddAddress(link=link, address=address):
                self._queue_inside(routing.add_address(link, self._index_of(link), address))
            case RemoveAddress(link=link, address=address):
                self._queue_inside(routing.remove_address(link, self._index_of(link), address))
            case RaiseLink(link=link):
                self._queue_inside(linkrequests.raise_link(link))
            case RestoreConnected(link=link, subnet=subnet, source=source):
                self._queue_inside(routing.restore_connected(link, self._index_of(link), subnet, source))
            case RestoreRoutingRules(rules=rules_of_routing):
                for rule in sorted(rules_of_routing):
                    self._queue_inside(routing.restore_rule(rule))
            case AddRoute(route=route):
                self._queue_inside(routing.add_route(route, self._index_of))
            case RemoveRoute(route=route):
                self._queue_inside(routing.remove_route(route, self._index_of))
            case MarkUnannounced(link=link):
                self._queue_inside(linkrequests.set_group(link, UNANNOUNCED_GROUP))
            case Announce():
                self._announcements.append(operation)
            case _:
                assert_never(operation)

    def _create_pair(self, operation: CreatePair) -> None:
        self._flush_inside()
        if self._namespace is None:
            with refusals.told(f"enter namespace {self._path.name}"):
                self._namespace = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        requests = linkrequests.create_pair(
            tap=operation.tap,
            mark=f"{links.OUR_MARK}{self._mark}",
            bridge_index=self._host.index_of(operation.bridge),
            link=operation.link,
            mac=operation.mac,
            mtu=operation.mtu,
            namespace=self._namespace,
            group=GUARDED_GROUP if operation.guarded else 0,
            link_group=UNANNOUNCED_GROUP,
        )
        self._host.add_new(operation.tap, requests)

    def _queue_inside(self, request: Request) -> None:
        self._host.flush()
        self._pending.append(request)

    def _flush_inside(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, []
            self._inside().netlink.carry_out(pending)

    def _flush(self) -> None:
        self._flush_inside()
        self._host.flush()

    def _flush_announcements(self) -> None:
        """Whoever ends before the marks are gone leaves them to the next one, who announces again."""
        if not self._announcements:
            return
        announcements, self._announcements = self._announcements, []
        self._host.await_carrier(announcement.tap for announcement in announcements)
        self._announce(self._packet_socket() if self._announces else None, announcements)
        self._inside().netlink.carry_out(
            [linkrequests.set_group(announcement.link, 0) for announcement in announcements]
        )

    def _index_of(self, link: str) -> int:
        if link not in self._indices:
            self._flush()
            self._indices |= links.indices(self._inside().netlink, [link])
        if link not in self._indices:
            raise Unavailable(f"there is no interface {link} in {self._path.name}")
        return self._indices[link]

    def _packet_socket(self) -> socket.socket:
        inside = self._inside()
        opened, inside.packets = inside.packets, None
        return opened if opened is not None else netns.enter(self._path, arp.open_socket)

    def _transactions(self) -> Transactions:
        inside = self._inside()
        if inside.transactions is None:
            inside.transactions = netns.enter(self._path, partial(Transactions, family=tables.IPV4))
        return inside.transactions

    def _nft(self) -> Nft:
        inside = self._inside()
        if inside.nft is None:
            inside.nft = netns.enter(self._path, Nft)
        return inside.nft

    def _inside(self) -> Inside:
        if self.inside is None:
            raise InvariantError(f"an operation in {self._path.name} came before its namespace")
        return self.inside


def _changed(settings: Mapping[str, str]) -> dict[str, str]:
    """Write settings of the calling thread's namespace; returns what the kernel made of them, for the verification."""
    sysctls.write(settings)
    return sysctls.read(SETTINGS)
