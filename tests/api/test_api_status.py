"""The status of a router's ports and floating IPs: no better than the router's."""

from typing import Any

import pytest
from api_fakes import FakeControls, add_host, bind, make
from httpx import AsyncClient

from gapless.controller.store.engine import Store
from gapless.core.ledger.views import RouterStatus
from gapless.model.host import HostName
from gapless.model.plan import Epoch
from gapless.model.router import RouterId


@pytest.fixture
async def bound(store: Store, world: dict[str, dict[str, Any]]) -> str:
    """The router of the world, on host1."""
    router_id: str = world["router"]["id"]
    await add_host(store, "host1")
    await bind(store, router_id, "host1")
    return router_id


def see(controls: FakeControls, router_id: str, state: str, health: str = "") -> None:
    host = None if state == "unplaced" else HostName("host1")
    controls.routers_known[RouterId(router_id)] = RouterStatus(
        router_id=RouterId(router_id), host=host, epoch=Epoch(1), state=state, reason="", health=health
    )


async def of_ports(api: AsyncClient, **query: str) -> dict[str, str]:
    """The status of each port, by its owner."""
    ports = (await api.get("/v2.0/ports", params=query)).json()["ports"]
    return {port["device_owner"]: port["status"] for port in ports}


@pytest.mark.parametrize(
    ("state", "health", "expected"),
    [
        ("active", "healthy", "ACTIVE"),
        ("active", "", "ACTIVE"),  # its host is silent, and not dead yet
        ("building", "", "ACTIVE"),
        ("unplaced", "", "DOWN"),
        ("failed", "broken", "DOWN"),
        ("waiting", "", "DOWN"),  # its host is dead
        ("waiting", "healthy", "ACTIVE"),  # its host is drained
        ("waiting", "degraded", "ACTIVE"),
    ],
)
async def test_what_a_router_has_is_down_while_nothing_forwards_for_it(
    api: AsyncClient,
    controls: FakeControls,
    world: dict[str, dict[str, Any]],
    bound: str,
    state: str,
    health: str,
    expected: str,
) -> None:
    see(controls, bound, state, health)
    routers_own = {"network:router_gateway": expected, "network:router_interface": expected}
    others = {
        "": "DOWN",
        "network:floatingip": "N/A",
    }  # a machine's that is on no host, and one that is plugged nowhere
    assert await of_ports(api) == routers_own | others
    assert await of_ports(api, device_id=bound, status=expected) == routers_own
    assert await of_ports(api, device_id=bound, status="N/A") == {}

    path = f"/v2.0/floatingips/{world['fip']['id']}"
    assert (await api.get(path)).json()["floatingip"]["status"] == expected
    answer = await api.put(path, json={"floatingip": {"description": "web"}})
    assert answer.json()["floatingip"]["status"] == expected
    (found,) = (await api.get(f"/v2.0/floatingips?status={expected}")).json()["floatingips"]
    assert found["status"] == expected


async def test_a_machines_port_is_up_where_its_router_is_not(
    api: AsyncClient, controls: FakeControls, world: dict[str, dict[str, Any]], bound: str
) -> None:
    await api.put(f"/v2.0/ports/{world['vm']['id']}", json={"port": {"binding:host_id": "compute1"}})
    see(controls, bound, "failed")
    assert (await of_ports(api))[""] == "ACTIVE"
    shown = (await api.get(f"/v2.0/floatingips/{world['fip']['id']}")).json()["floatingip"]
    assert (shown["status"], shown["port_details"]["status"]) == ("DOWN", "ACTIVE")


async def test_a_floating_ip_that_points_nowhere_is_down(
    api: AsyncClient, world: dict[str, dict[str, Any]], bound: str
) -> None:
    path = f"/v2.0/floatingips/{world['fip']['id']}"
    shown = (await api.put(path, json={"floatingip": {"port_id": None}})).json()["floatingip"]
    assert (shown["status"], shown["router_id"], shown["port_details"]) == ("DOWN", None, None)


@pytest.mark.parametrize(("state", "expected"), [("active", "ACTIVE"), ("failed", "DOWN")])
async def test_a_floating_ip_shows_a_routers_port_as_the_port_shows_itself(
    api: AsyncClient,
    store: Store,
    controls: FakeControls,
    world: dict[str, dict[str, Any]],
    bound: str,
    state: str,
    expected: str,
) -> None:
    """The port of a second router inside, to which the first one carries the floating IP."""
    inner = await make(api, "router", name="inner")
    await bind(store, inner["id"], "host1")
    port = await make(api, "port", network_id=world["blue"]["id"])
    await api.put(f"/v2.0/routers/{inner['id']}/add_router_interface", json={"port_id": port["id"]})
    path = f"/v2.0/floatingips/{world['fip']['id']}"
    answer = await api.put(path, json={"floatingip": {"port_id": port["id"]}})
    assert answer.json()["floatingip"]["port_details"]["status"] == "DOWN", "the planner does not know it yet"
    see(controls, bound, "active")
    see(controls, inner["id"], state)
    shown = (await api.get(path)).json()["floatingip"]
    assert (shown["router_id"], shown["status"], shown["port_details"]["status"]) == (bound, "ACTIVE", expected)
    assert (await api.get(f"/v2.0/ports/{port['id']}")).json()["port"]["status"] == expected
