"""Routers are built side by side and removed together, and nothing of them is left."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from kernel_fixtures import NAMESPACE, OUTSIDE, PORT_A, PORT_OUT, QG, QR_A, ROUTER_ID, Wires, ip, ip_json, router
from whole_router import WHOLE

from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.desired import tap_name
from gapless.model.network import PortId
from gapless.model.router import Gateway, Router, RouterId

pytestmark = pytest.mark.isolated


def test_routers_are_built_side_by_side(wires: Wires, host: Reconciler) -> None:
    """On one external network, by several threads at once, its bridge not there yet."""
    routers = [numbered(number) for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert all(outcome.changed and outcome.announced for outcome in pool.map(host.reconcile, routers))
        assert not any(outcome.changed for outcome in pool.map(host.reconcile, routers))
        assert all(wires.reaches("outside", f"203.0.113.{100 + number}") for number in range(12))
        assert host.running() == {it.id for it in routers}
        list(pool.map(host.remove, [it.id for it in routers]))
    assert host.running() == frozenset()


def numbered(number: int) -> Router:
    """One of many routers: a gateway on the shared external network and a tenant port."""
    outside = replace(
        PORT_OUT,
        id=PortId(f"e{number:07x}-0000-4000-8000-000000000002"),
        mac=f"fa:16:3e:0e:01:{number:02x}",
        addresses=(IPv4Interface(f"203.0.113.{100 + number}/24"),),
    )
    inside = replace(
        PORT_A,
        id=PortId(f"a{number:07x}-0000-4000-8000-000000000002"),
        mac=f"fa:16:3e:0a:01:{number:02x}",
        addresses=(IPv4Interface(f"10.0.0.{100 + number}/24"),),
    )
    return router(
        id=RouterId(f"{number:08x}-2222-4222-8222-222222222222"),
        ports=(inside,),
        gateway=Gateway(port=outside, next_hop=IPv4Address(OUTSIDE), snat=True),
    )


def test_a_port_that_is_no_longer_wanted_goes(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    host.reconcile(replace(WHOLE, ports=(PORT_A,)))
    assert {link["ifname"] for link in ip_json("link", inside=NAMESPACE)} == {"lo", QR_A, QG}
    assert wires.reaches("vm1", OUTSIDE)


def test_removing_a_router_leaves_nothing_of_it(wires: Wires, host: Reconciler) -> None:
    before = sorted(link["ifname"] for link in ip_json("link"))
    host.reconcile(WHOLE)
    host.remove(ROUTER_ID)
    host.sweep(())
    assert sorted(link["ifname"] for link in ip_json("link")) == before
    assert NAMESPACE not in ip("netns list")
    assert host.running() == frozenset()
    host.remove(ROUTER_ID)


def test_routers_are_removed_together_and_one_that_cannot_be_holds_up_no_other(host: Reconciler) -> None:
    """One whole, one whose tap has another name, one without a namespace's name; and a name that is no namespace."""
    before = sorted(link["ifname"] for link in ip_json("link"))
    routers = [numbered(number) for number in range(3)]
    for it in routers:
        host.reconcile(it)
    tap = tap_name(routers[1].ports[0].id)
    ip(f"link set {tap} down")
    ip(f"link set {tap} name elsewhere")
    ip(f"netns delete qrouter-{routers[2].id}")
    odd = RouterId("odd")
    Path(f"/run/netns/qrouter-{odd}").touch()
    subprocess.run(["mount", "--bind", "/proc/self/ns/uts", f"/run/netns/qrouter-{odd}"], check=True, timeout=10)
    left = host.remove_together([routers[0].id, odd, *(it.id for it in routers[1:])])
    assert left.keys() == {odd}
    assert "enter namespace qrouter-odd" in left[odd]
    assert host.running() == frozenset()
    host.sweep(())
    assert sorted(link["ifname"] for link in ip_json("link")) == before
    assert host.remove_together([it.id for it in routers]) == {}
