"""What an agent's hands remember of a host's kernel is of routers and networks that are there."""

from dataclasses import replace
from typing import Any

import pytest
from kernel_fixtures import PORT_A, PORT_OUT, Wires, ip, router

from gapless.agent.reconcile import Reconciler
from gapless.model.network import NetworkId, PortId
from gapless.model.router import Router, RouterId
from sizes import sizes

pytestmark = pytest.mark.isolated

MANY = 4


def made(number: int, *floating: tuple[str, str]) -> Router:
    """A router on the external network and on a network of its own."""
    network = replace(
        PORT_A.network,
        id=NetworkId(f"{number:08}-aaaa-4aaa-8aaa-aaaaaaaaaaaa"),
        segmentation_id=1000 + number,
    )
    port = replace(PORT_A, id=PortId(f"a{number:07}-0000-4000-8000-000000000001"), network=network)
    plain = router(*floating)
    assert plain.gateway is not None
    out = replace(PORT_OUT, id=PortId(f"e{number:07}-0000-4000-8000-000000000001"))
    changes: dict[str, Any] = {"ports": (port,), "gateway": replace(plain.gateway, port=out)}
    return replace(plain, id=RouterId(f"{number:08}-1111-4111-8111-111111111111"), **changes)


def test_of_routers_and_networks_that_came_and_went_nothing_is_kept(host: Reconciler, wires: Wires) -> None:
    stays = made(0)
    assert stays.gateway is not None
    external = stays.gateway.port.network
    kept = []
    for number in range(1, MANY + 1):
        foreign = f"{number:08}-2222-4222-8222-222222222222"
        one, address = made(number), f"203.0.113.{100 + number}"
        host.reconcile(stays)
        host.reconcile(made(0, (address, "10.0.0.5")))
        host.reconcile(stays)
        host.reconcile(one)
        ip(f"netns add qrouter-{foreign}")
        assert host.running() == {stays.id, one.id}
        host.remove(one.id)
        ip(f"netns delete qrouter-{foreign}")
        while host.sweep([external, *(port.network for port in stays.ports)]):
            pass
        host.reconcile(stays)
        assert host.running() == {stays.id}
        kept.append(sizes(host))
    first, last = kept[0], kept[-1]
    passing = ("Reconciler._announcer", "Reconciler._networks.places._known[]")  # repeats to come; what was listed last
    grown = {path: count for path, count in last.items() if count > first.get(path, 0) and not path.startswith(passing)}
    assert grown == {}
    assert last["Reconciler._recognised"] == 1, "it is looked where things are"
