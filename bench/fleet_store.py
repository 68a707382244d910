"""A store with a fleet in it, as a controller would have left it: hosts, routers where they are bound, arbiters.

Hosts and arbiters are written by the store's own records, routers by its tables, a table at a time: through the API
each would take some 50 ms. Each router is what a tenant of the lab has: a network with a subnet, a router between it
and the external network, a VM, and a floating IP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gapless.controller.store import clusterrows, hostrows
from gapless.controller.store.engine import Store
from gapless.controller.store.hostrows import NameRecord
from gapless.controller.store.tables import (
    AddressRow,
    BindingRow,
    FloatingIpRow,
    MoveRow,
    NetworkRow,
    PortRow,
    RouterPortRow,
    RouterRow,
    SubnetRow,
    Table,
)
from gapless.core.effects import StorePanel
from gapless.model.host import HostFacts, HostName, Incarnation, InstanceId
from gapless.model.lease import NOBODY, Panel, PanelVersion
from gapless.model.plan import Epoch
from gapless.model.router import FailoverMode, RouterId

ZONES = 3
ARBITERS = 5
INCARNATION = Incarnation(1)
EPOCH = Epoch(1)
PHYSICAL_NETWORK = "external"
EXTERNAL = IPv4Network("198.18.0.0/15")
"""For benchmarks (RFC 2544): room for 65,000 routers with a floating IP each."""
TENANTS = IPv4Network("10.0.0.0/24")
BATCH = 5_000

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a router is, and who stands by for it."""

    router_id: RouterId
    host: HostName
    standby: HostName


def hosts(count: int) -> list[HostFacts]:
    """Made-up hosts, zone after zone."""
    return [
        HostFacts(
            name=HostName(f"host-{number:03}"),
            instance=InstanceId(_id(1, number)),
            availability_zone=f"zone-{number % ZONES + 1}",
            physical_networks=(PHYSICAL_NETWORK,),
            data_address=f"10.77.{number // 250}.{number % 250 + 1}",
            version="made-up",
            lease_address=f"10.77.{number // 250}.{number % 250 + 1}:9698",
        )
        for number in range(count)
    ]


def places(facts: Sequence[HostFacts], routers: int) -> list[Place]:
    """Spread as the planner spreads them: each host as many, its standbys over all hosts of other zones."""
    elsewhere = {
        home.name: [each.name for each in facts if each.availability_zone != home.availability_zone] for home in facts
    }
    found = []
    for number in range(routers):
        turn, at = divmod(number, len(facts))
        others = elsewhere[facts[at].name]
        standby = others[(turn + at) % len(others)]
        found.append(Place(router_id=RouterId(_id(2, number)), host=facts[at].name, standby=standby))
    return found


async def fill(url: str, facts: Sequence[HostFacts], found: Sequence[Place], mode: FailoverMode) -> None:
    """Make the store, with all of them in it."""
    store = await Store.open(url)
    try:
        async with store.transaction() as session:
            for each in facts:
                await hostrows.save_host(session, each, INCARNATION, _now())
            await hostrows.save_names(session, {each.name: _name(each) for each in facts})
            await clusterrows.store_panel(session, _panel(facts))
            connection = await session.connection()
            await _write(connection, NetworkRow, [_external_network()])
            await _write(connection, SubnetRow, [_external_subnet()])
            for at in range(0, len(found), BATCH):
                numbered = list(enumerate(found[at : at + BATCH], start=at))
                for table, rows in _rows(numbered, mode).items():
                    await _write(connection, table, rows)
    finally:
        await store.close()


async def _write(connection: AsyncConnection, table: type[Table], rows: Rows) -> None:
    await connection.execute(insert(table), rows)


def _name(facts: HostFacts) -> NameRecord:
    return NameRecord(instance=facts.instance, started=INCARNATION, highest=INCARNATION, outlived=NOBODY)


def _panel(facts: Sequence[HostFacts]) -> StorePanel:
    first = PanelVersion(1)
    arbiters = frozenset(each.name for each in facts[:ARBITERS])
    panel = Panel(version=first, floor=first, sets=(arbiters,))
    return StorePanel(panel=panel, reason="made up", cause="bench")


def _rows(numbered: Sequence[tuple[int, Place]], mode: FailoverMode) -> Mapping[type[Table], Rows]:
    """By table, in an order in which no row refers to a later one."""
    rows: dict[type[Table], Rows] = {
        table: []
        for table in (
            NetworkRow,
            SubnetRow,
            PortRow,
            AddressRow,
            RouterRow,
            RouterPortRow,
            FloatingIpRow,
            BindingRow,
            MoveRow,
        )
    }
    for number, place in numbered:
        _add_networks(rows, number)
        _add_router(rows, number, place, mode)
        _add_placement(rows, number, place, mode)
    return rows


def _add_networks(rows: Mapping[type[Table], Rows], number: int) -> None:
    network, subnet = _id(3, number), _id(4, number)
    rows[NetworkRow].append(
        _resource(network, f"net-{number}", mtu=1450, network_type="vxlan", segmentation_id=number + 1)
    )
    rows[SubnetRow].append(
        _resource(subnet, f"subnet-{number}", network_id=network, cidr=TENANTS, gateway_ip=TENANTS[1])
    )


def _add_router(rows: Mapping[type[Table], Rows], number: int, place: Place, mode: FailoverMode) -> None:
    """Its ports, the VM's, and its floating IP's."""
    inside = (_id(3, number), _id(4, number), TENANTS)
    outside = (_id(3, _EXTERNAL), _id(4, _EXTERNAL), EXTERNAL)
    router = place.router_id
    _add_port(rows, _id(5, number), inside, 1, number, router, "network:router_interface")
    _add_port(rows, _id(6, number), outside, 10 + 2 * number, 2 * number, router, "network:router_gateway")
    _add_port(rows, _id(7, number), outside, 11 + 2 * number, 2 * number + 1, _id(9, number), "network:floatingip")
    _add_port(rows, _id(8, number), inside, 5, number + (1 << 20), _id(10, number), "compute:nova")
    rows[RouterRow].append(
        _resource(
            router,
            f"router-{number}",
            gateway_port_id=_id(6, number),
            failover_mode=mode.value,
            ha=mode is FailoverMode.STANDBY,
        )
    )
    rows[RouterPortRow].append({"port_id": _id(5, number), "router_id": router})
    rows[FloatingIpRow].append(
        _resource(
            _id(9, number),
            "",
            network_id=_id(3, _EXTERNAL),
            floating_port_id=_id(7, number),
            port_id=_id(8, number),
            fixed_address=TENANTS[5],
            router_id=router,
        )
    )


def _add_port(
    rows: Mapping[type[Table], Rows],
    port: str,
    where: tuple[str, str, IPv4Network],
    host_part: int,
    mac: int,
    device: str,
    owner: str,
) -> None:
    network, subnet, cidr = where
    octets = mac.to_bytes(3, "big")
    rows[PortRow].append(
        _resource(
            port,
            "",
            network_id=network,
            mac_address="fa:16:3e:" + ":".join(f"{each:02x}" for each in octets),
            device_id=device,
            device_owner=owner,
        )
    )
    rows[AddressRow].append({"port_id": port, "subnet_id": subnet, "network_id": network, "address": cidr[host_part]})


def _add_placement(rows: Mapping[type[Table], Rows], number: int, place: Place, mode: FailoverMode) -> None:
    is_guarded = mode is FailoverMode.STANDBY
    successor = {"host": place.standby, "incarnation": INCARNATION, "epoch": EPOCH + 1}
    rows[BindingRow].append(
        {
            "router_id": place.router_id,
            "host": place.host,
            "epoch": EPOCH,
            "incarnation": INCARNATION if is_guarded else None,
            "successors": [successor] if is_guarded else [],
        }
    )
    now = _now()
    rows[MoveRow].append(
        {
            "router_id": place.router_id,
            "epoch": EPOCH,
            "router_name": f"router-{number}",
            "to_host": place.host,
            "kind": "schedule",
            "cause": "bench",
            "reason": "made up",
            "decided_at": now,
            "bound_at": now,
            "sent_at": now,
            "confirmed_at": now,
        }
    )


_EXTERNAL = (1 << 32) - 1
"""Instead of a router's number."""


def _external_network() -> dict[str, Any]:
    return _resource(
        _id(3, _EXTERNAL),
        "external",
        mtu=1500,
        network_type="flat",
        physical_network=PHYSICAL_NETWORK,
        external=True,
    )


def _external_subnet() -> dict[str, Any]:
    return _resource(
        _id(4, _EXTERNAL),
        "external",
        network_id=_id(3, _EXTERNAL),
        cidr=EXTERNAL,
        gateway_ip=EXTERNAL[1],
    )


def _resource(id_: str, name: str, **values: Any) -> dict[str, Any]:
    return {"id": id_, "name": name, "revision_number": 1, **values}


def _id(kind: int, number: int) -> str:
    return str(UUID(int=kind << 96 | number))


def _now() -> datetime:
    return datetime.now(UTC)
