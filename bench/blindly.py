"""What the kernel takes for routers when nobody observes, decides, announces or verifies: requests, sent by one thread.

The floor for building and deleting. What is built is what the agent builds: it adopts such routers as they are, which
`bench/build_routers.py` makes sure of. Everything that can be known before is worked out before, and not timed. sysctls
are found below /proc/sys/net, and rules are loaded by libnftables, as anybody does it; or both as the agent does, for
which that takes less (`is_low`: `agent/kernel/sysnet.py`, `agent/kernel/rulecopies.py`).
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from gapless.agent.kernel import (
    linkrequests,
    links,
    netns,
    portentries,
    routing,
    rulecopies,
    ruleset,
    sysctls,
    tables,
    vxlandevices,
)
from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.reference import Reference
from gapless.agent.kernel.steering import Steering
from gapless.agent.kernel.steeringtable import FAMILY, TABLE
from gapless.core.dataplane.desired import bridge_name, desired_router, vxlan_name
from gapless.kernel.netlink import Netlink, Request
from gapless.kernel.transactions import Message, Transactions
from gapless.model.observed import GUARDED_GROUP, KernelRouter, Vxlan
from gapless.model.router import Router
from gapless.model.steering import Outside
from one_host import bridges_of

UPLINK, DATA = "ext0", "data0"
IPV6_OFF = "ipv6/conf/{}/disable_ipv6"
Write = Callable[[Mapping[str, str]], None]
"""Writes sysctls of the calling thread's namespace."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A router, and what it should look like."""

    router: Router
    desired: KernelRouter
    bridge: str
    """Of its tenant network."""
    vxlan: Vxlan
    messages: list[Message] | None
    """That make its rules; None: they are loaded as text."""

    @property
    def marks(self) -> tuple[str, str]:
        """Of its tenant network's links, and of its taps."""
        return f"{links.OUR_MARK}{self.router.ports[0].network.id}", f"{links.OUR_MARK}{self.router.id}"


def plan_of(it: Router, *, guarded: bool, reference: Reference | None) -> Plan:
    """What is known of a router before it is built."""
    network = it.ports[0].network
    vni = network.segmentation_id or 0
    vxlan = Vxlan(
        name=vxlan_name(vni),
        vni=vni,
        local=IPv4Address("172.16.0.1"),
        port=4789,
        device=DATA,
        group=IPv4Address("239.77.0.1"),
    )
    outside = Outside(uplink=UPLINK, inlets=frozenset({UPLINK}))
    desired = desired_router(it, ruleset.render(it), bridges_of(it), guarded, outside)
    assert desired.ruleset is not None
    messages = reference.copy(it, desired.ruleset) if reference is not None else None
    return Plan(it, desired, bridge_name(network.id), vxlan, messages)


class Floor:
    """Builds and deletes many routers, all on one external network, which is not there before or after."""

    def __init__(self, routers: Sequence[Router], *, guarded: bool, is_low: bool) -> None:
        """`is_low`: sysctls are found, and rules are loaded, as the agent does it. Raises Unavailable."""
        self._write: Write = sysctls.write if is_low else below_proc
        reference = Reference() if is_low else None
        self._plans = [plan_of(it, guarded=guarded, reference=reference) for it in routers]
        gateway = routers[0].gateway
        assert gateway is not None
        self._network = gateway.port.network.id
        self._external = bridge_name(self._network)
        netns.prepare_directory()

    def build(self) -> None:
        """All of them, each whole before the next."""
        with Netlink() as host:
            host.carry_out(linkrequests.create_bridge(self._external, f"{links.OUR_MARK}{self._network}", 1500))
            found = links.find(host, [self._external, DATA])
            plug = linkrequests.set_master(UPLINK, found[self._external].index)
            host.carry_out([plug, linkrequests.raise_link(UPLINK), linkrequests.raise_bridge(self._external)])
            self._write({IPV6_OFF.format(self._external): "1"})
            steering = Steering()
            try:
                for plan in self._plans:
                    _build(host, plan, found[self._external].index, found[DATA].index, self._write)
                    steering.want(plan.router.id, plan.desired.steering)
                    steering.put(plan.desired.steering)
            finally:
                steering.close()

    def delete(self) -> None:
        """All at once, and what only they needed."""
        doomed = [name for it in self._plans for name in (*it.desired.taps, it.bridge, it.vxlan.name)]
        with Netlink() as host:
            host.carry_out(
                [linkrequests.set_master(UPLINK, 0), *linkrequests.delete_together([*doomed, self._external])]
            )
        for it in self._plans:
            netns.delete(netns.path_of(it.router.id))
        with Nft() as nft:
            nft.transact(f"delete table {FAMILY} {TABLE}", "remove steering")


def _build(host: Netlink, plan: Plan, outside: int, data: int, write: Write) -> None:
    of_network, _ = plan.marks
    host.carry_out(linkrequests.create_bridge(plan.bridge, of_network, 1450))
    tenant = links.find(host, [plan.bridge])[plan.bridge].index
    host.carry_out(
        [
            *vxlandevices.create(plan.vxlan, of_network, 1450, tenant, data),
            linkrequests.raise_link(plan.vxlan.name),
            linkrequests.raise_bridge(plan.bridge),
        ]
    )
    path = netns.path_of(plan.router.id)

    def inside_of_it(inside: Netlink, _: object) -> tuple[Netlink, Nft | Transactions]:
        write(plan.desired.settings)
        return inside, Nft() if plan.messages is None else Transactions(family=tables.IPV4)

    inside, rules = netns.create(path, {}, inside_of_it)
    assert plan.desired.ruleset is not None
    if isinstance(rules, Nft):
        ruleset.load(rules, plan.desired.ruleset, replace=False)
    else:
        rulecopies.load(rules, plan.messages or (), is_there=False)
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    host.carry_out(_pairs(plan, tenant, outside, namespace))
    write({IPV6_OFF.format(name): "1" for name in (plan.bridge, plan.vxlan.name, *plan.desired.taps)})
    host.carry_out(_ends(host, plan))
    inside.carry_out(_insides(inside, plan))
    os.close(namespace)
    inside.close()
    rules.close()


def below_proc(settings: Mapping[str, str]) -> None:
    """Write sysctls of the calling thread's namespace; one that this kernel lacks is left out."""
    with contextlib.ExitStack() as held:
        directories: dict[str, int] = {}
        for key, value in settings.items():
            family, _, name = key.partition("/")
            with contextlib.suppress(FileNotFoundError):
                if family not in directories:
                    found = os.open(f"/proc/sys/net/{family}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                    held.callback(os.close, found)
                    directories[family] = found
                descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directories[family])
                os.write(descriptor, value.encode())
                os.close(descriptor)


def _pairs(plan: Plan, tenant: int, outside: int, namespace: int) -> list[Request]:
    taps = {tap.peer: tap for tap in plan.desired.taps.values()}
    pairs = (
        linkrequests.create_pair(
            tap=taps[link.name].name,
            mark=plan.marks[1],
            bridge_index=tenant if taps[link.name].bridge == plan.bridge else outside,
            link=link.name,
            mac=link.mac,
            mtu=link.mtu,
            namespace=namespace,
            group=GUARDED_GROUP if taps[link.name].guarded else 0,
        )
        for link in plan.desired.links.values()
    )
    return [request for pair in pairs for request in pair]


def _ends(host: Netlink, plan: Plan) -> list[Request]:
    """The taps, as ports: what is steered to them, and up."""
    steered = {tap.name: tap.steering_mac for tap in plan.desired.taps.values() if tap.steering_mac is not None}
    found = links.find(host, sorted(steered))
    return [
        *(portentries.send_to_port(name, found[name].index, mac) for name, mac in steered.items()),
        *(linkrequests.keep_multicasts_from(name) for name in steered),
        *(linkrequests.raise_link(name) for name in plan.desired.taps),
    ]


def _insides(inside: Netlink, plan: Plan) -> list[Request]:
    """Addresses, subnets' before single ones; up; routes."""
    indices = {found.name: found.index for found in links.all_links(inside)}
    held = [
        (link.name, address)
        for link in plan.desired.links.values()
        for address in sorted(link.addresses, key=lambda it: (it.network.prefixlen, it.ip))
    ]
    return [
        *(routing.add_address(name, indices[name], address) for name, address in held),
        *(linkrequests.raise_link(name) for name in plan.desired.links),
        *(routing.add_route(route, indices.__getitem__) for route in plan.desired.routes),
    ]
