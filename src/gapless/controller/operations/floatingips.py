"""Floating IPs: an address outside that stands for an address inside, carried by the router between the two.

The address belongs to a port of its own on the external network, so that nobody else gets it. Which router carries a
floating IP is decided when it is pointed at a port, and stays so until it is pointed elsewhere.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import changes, faults, lookup, pages, topology, views
from gapless.controller.operations.ipam import parse_address
from gapless.controller.operations.ports import Ports
from gapless.controller.operations.views import Json
from gapless.controller.store.tables import (
    AddressRow,
    FloatingIpRow,
    NetworkRow,
    PortRow,
    RouterPortRow,
    RouterRow,
    SubnetRow,
)

COLUMNS = pages.columns(
    FloatingIpRow,
    {
        "floating_network_id": FloatingIpRow.network_id,
        "port_id": FloatingIpRow.port_id,
        "router_id": FloatingIpRow.router_id,
    },
)
NOT_SERVED = "network:dhcp"
"""Owner of ports that no floating IP may point at, as in Neutron."""


@dataclass(frozen=True, slots=True)
class FloatingIps:
    """The resource `floatingip`."""

    ports: Ports

    async def create(self, session: AsyncSession, values: Json) -> Json:
        """A new floating IP with an address of an external network, pointed at a port if `values` names one."""
        network = await lookup.network(session, values["floating_network_id"])
        _check_network(network)
        wishes = _wishes(values)
        topology.check_external_addresses("floatingip", network, wishes or ())
        id_ = str(uuid4())
        port = await self.ports.plug(
            session,
            network,
            fixed_ips=wishes,
            device_id=id_,
            device_owner=views.FLOATING_IP,
        )
        floating_ip = FloatingIpRow(
            id=id_,
            project_id=values.get("project_id") or "",
            description=values.get("description") or "",
            network_id=network.id,
            floating_port_id=port.id,
            floating_port=port,
        )
        await _point(session, floating_ip, values)
        session.add(floating_ip)
        await session.flush()
        return views.floating_ip(floating_ip)

    async def update(self, session: AsyncSession, floating_ip_id: str, values: Json) -> Json:
        """Point a floating IP at `port_id` (and `fixed_ip_address`), at nothing (None), or leave it (not given)."""
        floating_ip = await lookup.floating_ip(session, floating_ip_id)
        if "description" in values:
            floating_ip.description = values["description"] or ""
        await _point(session, floating_ip, values)
        await session.flush()
        changes.mark_changed(session, floating_ip.router_id)
        return views.floating_ip(await lookup.floating_ip(session, floating_ip_id))

    async def delete(self, session: AsyncSession, floating_ip_id: str) -> None:
        """Delete a floating IP, and free its address."""
        floating_ip = await lookup.floating_ip(session, floating_ip_id)
        changes.mark_changed(session, floating_ip.router_id)
        await self.release(session, floating_ip)

    async def release(self, session: AsyncSession, floating_ip: FloatingIpRow) -> None:
        """Delete the row and the port that holds its address."""
        await session.delete(floating_ip)
        await session.flush()
        await self.ports.unplug(session, floating_ip.floating_port)

    async def get(self, session: AsyncSession, floating_ip_id: str) -> Json:
        """Raises FloatingIPNotFound."""
        return views.floating_ip(await lookup.floating_ip(session, floating_ip_id))

    async def list(self, session: AsyncSession, filters: pages.Filters, page: pages.Page | None = None) -> list[Json]:
        """Floating IPs, narrowed by `filters` and `page`."""
        rows = await lookup.matching(session, select(FloatingIpRow), COLUMNS, filters, page, lookup.FLOATING_IP)
        return [views.floating_ip(row) for row in rows]


def _check_network(network: NetworkRow) -> None:
    if not network.external:
        raise faults.BadRequest("floatingip", f"Network {network.id} is not a valid external network")
    if not network.subnets:
        raise faults.BadRequest("floatingip", f"Network {network.id} does not contain any IPv4 subnet")


def _wishes(values: Json) -> list[dict[str, str]] | None:
    """The `fixed_ips` of the port that holds the address."""
    wish = {}
    if values.get("subnet_id"):
        wish["subnet_id"] = values["subnet_id"]
    if values.get("floating_ip_address"):
        wish["ip_address"] = values["floating_ip_address"]
    return [wish] if wish else None


async def _point(session: AsyncSession, floating_ip: FloatingIpRow, values: Json) -> None:
    """Point a floating IP where `values` says, and mark the routers that it leaves and comes to."""
    if values.get("fixed_ip_address") and not values.get("port_id"):
        raise faults.BadRequest("floatingip", "fixed_ip_address cannot be specified without a port_id")
    if "port_id" in values:
        changes.mark_changed(session, floating_ip.router_id)
        if values["port_id"] is None:
            floating_ip.port_id = floating_ip.fixed_address = floating_ip.router_id = None
        else:
            await _point_at(session, floating_ip, values["port_id"], values.get("fixed_ip_address"))
        changes.mark_changed(session, floating_ip.router_id)


async def _point_at(session: AsyncSession, floating_ip: FloatingIpRow, port_id: str, fixed_ip: str | None) -> None:
    port = await lookup.port(session, port_id)
    fixed = _fixed_address(port, fixed_ip)
    router_id = await _router_between(session, port, fixed.subnet, floating_ip.network_id)
    other = select(FloatingIpRow.id).where(
        FloatingIpRow.network_id == floating_ip.network_id,
        FloatingIpRow.port_id == port_id,
        FloatingIpRow.fixed_address == fixed.address,
        FloatingIpRow.id != floating_ip.id,
    )
    if await session.scalar(other) is not None:
        raise faults.FloatingIPPortAlreadyAssociated(
            floating_ip=floating_ip.floating_port.addresses[0].address,
            floating_ip_id=floating_ip.id,
            port_id=port_id,
            fixed_ip=fixed.address,
            network_id=floating_ip.network_id,
        )
    floating_ip.port = port
    floating_ip.port_id, floating_ip.fixed_address, floating_ip.router_id = port_id, fixed.address, router_id


def _fixed_address(port: PortRow, fixed_ip: str | None) -> AddressRow:
    """The address of the port that is meant: the one named, else the only one."""
    if port.device_owner == NOT_SERVED:
        raise faults.BadRequest("floatingip", f"Port {port.id} is unable to be assigned a floating IP")
    if fixed_ip is not None:
        wanted: IPv4Address = parse_address(fixed_ip)
        for address in port.addresses:
            if address.address == wanted:
                return address
        raise faults.BadRequest("floatingip", f"Port {port.id} does not have fixed ip {fixed_ip}")
    if not port.addresses:
        raise faults.BadRequest(
            "floatingip", f"Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses"
        )
    if len(port.addresses) > 1:
        raise faults.BadRequest(
            "floatingip",
            f"Port {port.id} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when assigning "
            "a floating IP",
        )
    return port.addresses[0]


async def _router_between(session: AsyncSession, port: PortRow, subnet: SubnetRow, external_id: str) -> str:
    """The router with an interface on the subnet and its gateway on the external network.

    Where several are, the one that is the subnet's gateway: the machine behind the port answers through it.
    """
    gateway = PortRow.__table__.alias("gateway")
    candidates = (
        select(RouterRow.id, AddressRow.address)
        .join(RouterPortRow, RouterPortRow.router_id == RouterRow.id)
        .join(AddressRow, AddressRow.port_id == RouterPortRow.port_id)
        .join(gateway, gateway.c.id == RouterRow.gateway_port_id)
        .where(AddressRow.subnet_id == subnet.id, gateway.c.network_id == external_id)
        .order_by(RouterRow.created_at, RouterRow.id)
    )
    found = (await session.execute(candidates)).all()
    if not found:
        raise faults.ExternalGatewayForFloatingIPNotFound(external_id, subnet.id, port.id)
    return next((router_id for router_id, address in found if address == subnet.gateway_ip), found[0][0])
