"""Each kind of breakage on twenty routers at once, as `test_kernel_mending` has it of one: all are mended, because the
kernel told of them.

The agent shares the test's thread: it hears of nothing before the last router is broken. A hundred at once, on a host
with a thousand, are measured by `bench/repair.py --at-once 100`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface

import pytest
from kernel_fixtures import PORT_A, PORT_OUT, TENANT_A, Wires, ip, nft, router
from test_kernel_mending import agent, until

from gapless.agent.kernel import links
from gapless.agent.reconcile import Reconciler
from gapless.kernel.netlink import Netlink
from gapless.model.host import Incarnation
from gapless.model.network import NetworkId, PortId
from gapless.model.observed import GUARDED_GROUP
from gapless.model.plan import Guarded, Role
from gapless.model.router import Router, RouterId

pytestmark = pytest.mark.isolated

MANY = 20


@dataclass(frozen=True)
class Names:
    """Of what a router is made of."""

    namespace: str
    inside: str
    outside: str
    tap: str
    tap_outside: str
    bridge: str
    tunnel: str


def numbered(number: int) -> Router:
    """A router on a tenant network of its own."""
    network = replace(TENANT_A, id=NetworkId(f"c{number:07}-ccc"), segmentation_id=1000 + number)
    port = replace(PORT_A, id=PortId(f"a{number:07}-aaa"), network=network, mac=f"fa:16:3e:0a:01:{number:02x}")
    outside = replace(
        PORT_OUT,
        id=PortId(f"e{number:07}-eee"),
        mac=f"fa:16:3e:0e:01:{number:02x}",
        addresses=(IPv4Interface(f"203.0.113.{100 + number}/24"),),
    )
    way_out = router().gateway
    assert way_out is not None
    return router(
        id=RouterId(f"{number:08}-1111-4111-8111-111111111111"), ports=(port,), gateway=replace(way_out, port=outside)
    )


def names_of(it: Router) -> Names:
    (port,) = it.ports
    assert it.gateway is not None
    outside = it.gateway.port
    return Names(
        namespace=f"qrouter-{it.id}",
        inside=f"qr-{port.id[:11]}",
        outside=f"qg-{outside.id[:11]}",
        tap=f"tap{port.id[:11]}",
        tap_outside=f"tap{outside.id[:11]}",
        bridge=f"brq{port.network.id[:11]}",
        tunnel=f"vxlan-{port.network.segmentation_id}",
    )


HARMS: dict[str, Callable[[Names], object]] = {
    "namespace deleted": lambda it: ip(f"netns delete {it.namespace}"),
    "link down": lambda it: ip(f"link set {it.inside} down", inside=it.namespace),
    "link deleted": lambda it: ip(f"link delete {it.inside}", inside=it.namespace),
    "gateway link deleted": lambda it: ip(f"link delete {it.outside}", inside=it.namespace),
    "address removed": lambda it: ip(f"address flush dev {it.outside}", inside=it.namespace),
    "route removed": lambda it: ip("route delete default", inside=it.namespace),
    "forwarding off": lambda it: ip(f"netns exec {it.namespace} sysctl -qw net.ipv4.ip_forward=0"),
    "rules flushed": lambda it: nft("flush ruleset", inside=it.namespace),
    "rules altered": lambda it: nft("flush chain ip gapless postrouting", inside=it.namespace),
    "tap down": lambda it: ip(f"link set {it.tap} down"),
    "tap deleted": lambda it: ip(f"link delete {it.tap}"),
    "tap unplugged": lambda it: ip(f"link set {it.tap_outside} nomaster"),
    "tap under the guard": lambda it: ip(f"link set {it.tap_outside} group {GUARDED_GROUP}"),
    "bridge down": lambda it: ip(f"link set {it.bridge} down"),
    "tunnel deleted": lambda it: ip(f"link delete {it.tunnel}"),
}


async def test_many_that_break_at_once_are_all_mended_whatever_it_is(wires: Wires) -> None:
    routers = [numbered(number) for number in range(1, MANY + 1)]
    async with agent(wires.settings) as running:
        await running.plan(*routers)
        await running.active(*(it.id for it in routers))
        for what, harm in HARMS.items():
            before = len(running.kernel.changed)
            for it in routers:
                harm(names_of(it))
            await until(lambda since=before: {it.id for it in routers} <= set(running.kernel.changed[since:]))  # type: ignore[misc]
            for address in map(address_of, routers):
                await until(lambda to=address: wires.reaches("outside", to))  # type: ignore[misc]
            assert await running.given_up() == [], what
        await running.plan(*routers, guarded=Guarded(role=Role.STANDBY, incarnation=Incarnation(1)))
        taps = [tap for it in map(names_of, routers) for tap in (it.tap, it.tap_outside)]
        await until(lambda: are_guarded(taps))
        for tap in taps:
            ip(f"link set {tap} group 0")
        await until(lambda: are_guarded(taps))
        assert await running.given_up() == [], "guard altered"
    another = Reconciler(wires.settings)
    assert [it.id for it in routers if another.reconcile(it, guarded=True).changed] == [], (
        "nothing is left to be mended"
    )
    another.close()


def are_guarded(taps: list[str]) -> bool:
    with Netlink() as host:
        return all(found.group == GUARDED_GROUP for found in links.find(host, taps).values())


def address_of(it: Router) -> str:
    assert it.gateway is not None
    return str(it.gateway.port.addresses[0].ip)
