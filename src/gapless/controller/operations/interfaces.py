"""A router's interfaces on tenant networks: by subnet, with the subnet's gateway address; or by a port made before.

Either way the port is the router's from then on, and is deleted with the interface, as in Neutron.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import changes, faults, lookup, topology, views
from gapless.controller.operations.ports import Ports
from gapless.controller.operations.views import Json
from gapless.controller.store.tables import AddressRow, FloatingIpRow, PortRow, RouterPortRow, RouterRow, SubnetRow


@dataclass(frozen=True, slots=True)
class Interfaces:
    """Adds and removes interfaces."""

    ports: Ports

    async def add(self, session: AsyncSession, router_id: str, body: Json) -> Json:
        """Add an interface by `subnet_id` or by `port_id`. Raises BadRequest, PortInUse, IpAddressAlreadyAllocated."""
        router = await lookup.connected_router(session, router_id)
        port_id, subnet_id = _named(body)
        if port_id and subnet_id:
            raise faults.BadRequest("router", "Cannot specify both subnet-id and port-id")
        if port_id:
            port = await _take_port(session, router, port_id)
        else:
            port = await self._port_on(session, router, str(subnet_id))
        router.ports.append(RouterPortRow(port_id=port.id, port=port))
        router.touch()  # of two overlapping subnets at once, one loses the race for the router
        await session.flush()
        changes.mark_changed(session, router_id)
        return views.router_interface(router_id, port, [subnet.id for subnet in topology.subnets_of(port)])

    async def remove(self, session: AsyncSession, router_id: str, body: Json) -> Json:
        """Remove the interface with this `port_id`, on this `subnet_id`, or both.

        Raises RouterInterfaceInUseByFloatingIP or RouterInterfaceInUseByRoute while something needs it.
        """
        router = await lookup.router(session, router_id)
        interface = await _find(session, router, *_named(body))
        port = interface.port
        subnets = topology.subnets_of(port)
        for subnet in subnets:
            await _refuse_in_use(session, router, subnet)
        answer = views.router_interface(router_id, port, [subnet.id for subnet in subnets])
        router.ports.remove(interface)
        router.touch()
        await session.flush()
        await self.ports.unplug(session, port)
        changes.mark_changed(session, router_id)
        return answer

    async def _port_on(self, session: AsyncSession, router: RouterRow, subnet_id: str) -> PortRow:
        """A new port with the subnet's gateway address."""
        network, subnet = await lookup.network_around(session, subnet_id)
        if subnet.gateway_ip is None:
            raise faults.BadRequest("router", "Subnet for router interface must have a gateway IP")
        topology.check_new_subnets(router, [subnet])
        return await self.ports.plug(
            session,
            network,
            fixed_ips=[{"subnet_id": subnet_id, "ip_address": str(subnet.gateway_ip)}],
            project_id=router.project_id,
            device_id=router.id,
            device_owner=views.ROUTER_INTERFACE,
        )


async def _take_port(session: AsyncSession, router: RouterRow, port_id: str) -> PortRow:
    """A port that somebody made and nobody uses, made the router's."""
    port = await lookup.port(session, port_id)
    if port.device_id:
        raise faults.PortInUse(port.network_id, port.id, port.device_id)
    if not port.addresses:
        raise faults.BadRequest("router", "Router port must have at least one fixed IP")
    topology.check_new_subnets(router, topology.subnets_of(port))
    if len(port.addresses) > 1:
        raise faults.BadRequest("router", "Cannot have multiple IPv4 subnets on router port")
    port.device_id = router.id
    port.device_owner = views.ROUTER_INTERFACE
    return port


async def _find(session: AsyncSession, router: RouterRow, port_id: str | None, subnet_id: str | None) -> RouterPortRow:
    """The interface that a removal is about."""
    if port_id is None:
        subnet = await lookup.subnet(session, str(subnet_id))
        for interface in router.ports:
            if subnet in topology.subnets_of(interface.port):
                return interface
        raise faults.RouterInterfaceNotFoundForSubnet(router.id, subnet.id)
    named = next((each for each in router.ports if each.port_id == port_id), None)
    if named is None:
        raise faults.RouterInterfaceNotFound(router.id, port_id)
    if subnet_id is not None and subnet_id not in {each.subnet_id for each in named.port.addresses}:
        raise faults.SubnetMismatchForPort(port_id, subnet_id)
    return named


async def _refuse_in_use(session: AsyncSession, router: RouterRow, subnet: SubnetRow) -> None:
    pointing = select(FloatingIpRow.id).join(AddressRow, AddressRow.port_id == FloatingIpRow.port_id)
    pointing = pointing.where(
        FloatingIpRow.router_id == router.id,
        FloatingIpRow.fixed_address == AddressRow.address,
        AddressRow.subnet_id == subnet.id,
    )
    if await session.scalar(pointing.limit(1)) is not None:
        raise faults.RouterInterfaceInUseByFloatingIP(router.id, subnet.id)
    if any(route.nexthop in subnet.cidr for route in router.routes):
        raise faults.RouterInterfaceInUseByRoute(router.id, subnet.id)


def _named(body: Json) -> tuple[str | None, str | None]:
    """The `port_id` and `subnet_id` of a body; at least one of them. Raises BadRequest."""
    if not isinstance(body, dict) or not body.keys() & {"port_id", "subnet_id"}:
        raise faults.BadRequest("router", "Either subnet_id or port_id must be specified")
    port_id, subnet_id = (_uuid(body[key]) if key in body else None for key in ("port_id", "subnet_id"))
    return port_id, subnet_id


def _uuid(value: Any) -> str:
    try:
        return str(UUID(value))
    except (ValueError, TypeError, AttributeError) as error:
        raise faults.BadRequest("router", f"'{value}' is not a valid UUID") from error
