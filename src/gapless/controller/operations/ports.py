"""Ports: where something is plugged into a network, and which addresses it has there.

Two doors. Users create, change and delete ports of machines; ports of routers and floating IPs can be seen here but
belong to their owners, who come through `plug` and `unplug`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import changes, extraroutes, faults, lookup, pages, topology, views
from gapless.controller.operations.ipam import FixedIps, Ipam, mac_in_use, parse_address
from gapless.controller.operations.views import Json
from gapless.controller.store.tables import AddressRow, BindingRow, FloatingIpRow, NetworkRow, PortRow

COLUMNS = pages.columns(
    PortRow,
    {
        "network_id": PortRow.network_id,
        "admin_state_up": PortRow.admin_state_up,
        "mac_address": PortRow.mac_address,
        "device_id": PortRow.device_id,
        "device_owner": PortRow.device_owner,
    },
)
NETWORK_OWNED = "network:"
"""Device owners that begin so are the cloud's own: routers, floating IPs, DHCP servers."""
SERVICE_OWNERS = (*views.ROUTER_OWNERS, views.FLOATING_IP)
"""Device owners whose ports are deleted with what owns them, not by themselves."""
FIXED_OWNERS = (views.ROUTER_INTERFACE, views.FLOATING_IP)
"""Device owners whose ports keep the addresses that they were made with: hosts and machines go by them."""
AUTO_DELETED = ("network:dhcp", "network:distributed", "network:floatingip_agent_gateway")
"""Device owners whose ports stand in nobody's way: they go with their network or subnet."""

NAMED_AT_ONCE = 500
"""Rows that a query names at most; for more, all are read."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The resource `port`."""

    ipam: Ipam

    async def create(self, session: AsyncSession, values: Json) -> Json:
        """A new port. Raises the refusals about networks, addresses and MAC addresses."""
        network = await lookup.network(session, values["network_id"])
        port = await self.plug(
            session,
            network,
            project_id=values.get("project_id") or "",
            name=values.get("name") or "",
            description=values.get("description") or "",
            mac=values.get("mac_address"),
            admin_state_up=values.get("admin_state_up", True),
            device_id=values.get("device_id") or "",
            device_owner=values.get("device_owner") or "",
            binding_host=values.get("binding:host_id") or "",
            fixed_ips=values.get("fixed_ips"),
        )
        return views.port(port, {})

    async def update(self, session: AsyncSession, port_id: str, values: Json) -> Json:
        """Change what `values` names. Ports of routers and floating IPs keep their MAC address and their owner.

        Of their addresses a gateway's port alone can have others, as long as its router's floating IPs and extra routes
        still work.
        """
        port = await lookup.port(session, port_id)
        await _refuse_update(session, port, values)
        if values.get("mac_address"):
            await _set_mac(session, port, values["mac_address"])
        for key, column in (("name", "name"), ("description", "description"), ("admin_state_up", "admin_state_up")):
            if key in values:
                setattr(port, column, values[key])
        for key, column in (
            ("device_id", "device_id"),
            ("device_owner", "device_owner"),
            ("binding:host_id", "binding_host"),
        ):
            if key in values:
                setattr(port, column, values[key] or "")
        if values.get("fixed_ips") is not None:
            await self.readdress(session, port, values["fixed_ips"])
        router_id = await changes.owner_of(session, port_id)
        changes.mark_changed(session, router_id)
        await session.flush()
        if router_id is not None and values.get("fixed_ips") is not None:
            await _check_router(session, router_id)
        return views.port(port, await _router_hosts(session, [port]))

    async def delete(self, session: AsyncSession, port_id: str) -> None:
        """Delete a machine's port; floating IPs that point at it point nowhere then. Raises ServicePortInUse."""
        port = await lookup.port(session, port_id)
        if await _owner_exists(session, port):
            raise faults.ServicePortInUse(port.id, port.device_owner)
        await self.unplug(session, port)

    async def get(self, session: AsyncSession, port_id: str) -> Json:
        """Raises PortNotFound."""
        port = await lookup.port(session, port_id)
        return views.port(port, await _router_hosts(session, [port]))

    async def list(self, session: AsyncSession, filters: pages.Filters, page: pages.Page | None = None) -> list[Json]:
        """Ports, narrowed by `filters` and `page`; `fixed_ips` takes `ip_address=...` and `subnet_id=...`."""
        query = select(PortRow).where(*_address_conditions(filters.get("fixed_ips", ())))
        ports = await lookup.matching(session, query, COLUMNS, filters, page, lookup.PORT)
        hosts = await _router_hosts(session, ports)
        return [views.port(port, hosts) for port in ports]

    # For the owners of ports: routers and floating IPs

    async def plug(
        self,
        session: AsyncSession,
        network: NetworkRow,
        *,
        fixed_ips: FixedIps | None,
        project_id: str = "",
        name: str = "",
        description: str = "",
        mac: str | None = None,
        admin_state_up: bool = True,
        device_id: str = "",
        device_owner: str = "",
        binding_host: str = "",
    ) -> PortRow:
        """A new port on a network (from `lookup.network`). `fixed_ips`: None for any address, () for none."""
        if mac and await mac_in_use(session, network.id, mac.lower()):
            raise faults.MacAddressInUse(network.id, mac.lower())
        port = PortRow(
            id=str(uuid4()),
            project_id=project_id,
            name=name,
            description=description,
            network_id=network.id,
            network=network,
            mac_address=mac.lower() if mac else await self.ipam.free_mac(session, network.id),
            admin_state_up=admin_state_up,
            device_id=device_id,
            device_owner=device_owner,
            binding_host=binding_host,
            addresses=[],
        )
        await self.ipam.assign(session, port, network, fixed_ips)
        session.add(port)
        await session.flush()
        return port

    async def readdress(self, session: AsyncSession, port: PortRow, fixed_ips: FixedIps) -> None:
        """Give a port other addresses. Raises what `Ipam.assign` does."""
        await self.ipam.assign(session, port, await lookup.network(session, port.network_id), fixed_ips)
        port.touch()
        await session.flush()

    async def unplug(self, session: AsyncSession, port: PortRow) -> None:
        """Delete a port, and take floating IPs off it."""
        pointing = await session.scalars(select(FloatingIpRow).where(FloatingIpRow.port_id == port.id))
        for floating_ip in pointing:
            changes.mark_changed(session, floating_ip.router_id)
            floating_ip.port_id = floating_ip.fixed_address = floating_ip.router_id = None
        await session.flush()
        await session.delete(port)
        await session.flush()


async def _refuse_update(session: AsyncSession, port: PortRow, values: Json) -> None:
    """What may not be changed on this port, whatever it would be changed to."""
    if port.device_owner in SERVICE_OWNERS and await _owner_exists(session, port):
        for key in ("device_id", "device_owner"):
            if key in values and values[key] != getattr(port, key):
                raise faults.UnsupportedPortDeviceOwner(f"{key} update", port.id, port.device_owner)
    if values.get("fixed_ips") is None:
        return
    if port.device_owner in FIXED_OWNERS and _wants_others(port, values["fixed_ips"]):
        raise faults.BadRequest("ports", f"IP updates for port {port.id} are not allowed")
    if port.device_owner == views.ROUTER_GATEWAY and await _owner_exists(session, port):
        network = await lookup.network(session, port.network_id)
        topology.check_external_addresses("port", network, values["fixed_ips"])
    pointed_at = await session.scalars(select(FloatingIpRow.fixed_address).where(FloatingIpRow.port_id == port.id))
    kept = {parse_address(each["ip_address"]) for each in values["fixed_ips"] if each.get("ip_address")}
    if any(address not in kept for address in pointed_at if address is not None):
        raise faults.BadRequest(
            "port",
            f"Cannot update the fixed_ips of the port {port.id}, because its original fixed_ip has been associated to "
            "a floating ip",
        )


async def _check_router(session: AsyncSession, router_id: str) -> None:
    """Whether a router still has what its floating IPs and extra routes need, now that a port has other addresses."""
    router = await lookup.router(session, router_id)
    gateway = router.gateway_port
    if gateway is not None and router.floating_ips and not gateway.addresses:
        raise faults.RouterExternalGatewayInUseByFloatingIp(router_id, gateway.network_id)
    extraroutes.check(router)


def _wants_others(port: PortRow, fixed_ips: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these wishes ask for anything but the addresses that the port has."""
    named = {each.get("ip_address") for each in fixed_ips}
    return named != {str(address.address) for address in port.addresses}


async def _set_mac(session: AsyncSession, port: PortRow, mac: str) -> None:
    if mac.lower() == port.mac_address:
        return
    if port.device_owner.startswith(NETWORK_OWNED):
        raise faults.UnsupportedPortDeviceOwner("mac address update", port.id, port.device_owner)
    if port.binding_host:
        raise faults.PortBound(port.id, views.vif_type(port.binding_host), port.mac_address, mac.lower())
    if await mac_in_use(session, port.network_id, mac.lower()):
        raise faults.MacAddressInUse(port.network_id, mac.lower())
    port.mac_address = mac.lower()


async def _owner_exists(session: AsyncSession, port: PortRow) -> bool:
    """Whether a router or floating IP that needs this port is there."""
    if port.device_owner not in SERVICE_OWNERS:
        return False
    if port.device_owner == views.FLOATING_IP:
        owner = select(FloatingIpRow.id).where(FloatingIpRow.floating_port_id == port.id)
        return await session.scalar(owner) is not None
    return await changes.owner_of(session, port.id) is not None


async def _router_hosts(session: AsyncSession, ports: Sequence[PortRow]) -> dict[str, str]:
    """The host of each router that one of these ports belongs to."""
    routers = {port.device_id for port in ports if port.device_owner in views.ROUTER_OWNERS}
    if not routers:
        return {}
    query = select(BindingRow.router_id, BindingRow.host)
    if len(routers) <= NAMED_AT_ONCE:
        query = query.where(BindingRow.router_id.in_(sorted(routers)))
    return dict((await session.execute(query)).all())


def _address_conditions(texts: Sequence[str]) -> list[ColumnElement[bool]]:
    """Neutron's filter on the addresses of a port: any of the values of a key, and something for each key."""
    parted = [text.partition("=") for text in texts]
    pairs = [(key.strip(), value.strip()) for key, _, value in parted]  # as `api/queries` reads them
    addresses = [value for key, value in pairs if key == "ip_address"]
    subnet_ids = [value for key, value in pairs if key == "subnet_id"]
    conditions = []
    if addresses:
        wanted = [IPv4Address(text) for text in addresses if _is_address(text)]
        conditions.append(PortRow.addresses.any(AddressRow.address.in_(wanted)))
    if subnet_ids:
        conditions.append(PortRow.addresses.any(AddressRow.subnet_id.in_(subnet_ids)))
    return conditions


def _is_address(text: str) -> bool:
    """Asking for what cannot be an address is no error: no port has it."""
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True
