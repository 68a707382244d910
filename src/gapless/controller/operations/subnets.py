"""Subnets: which addresses a network has, which of them are given out, and who is their gateway."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from uuid import uuid4

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import changes, faults, lookup, pages, subnet_rules, views
from gapless.controller.operations.ports import AUTO_DELETED, Ports
from gapless.controller.operations.segments import LEAST_MTU
from gapless.controller.operations.views import Json
from gapless.controller.store.tables import (
    AddressRow,
    AllocationPoolRow,
    NetworkRow,
    PortRow,
    RouterPortRow,
    RouterRow,
    SubnetRow,
)
from gapless.core.addressing import AddressRange

COLUMNS = pages.columns(
    SubnetRow,
    {
        "network_id": SubnetRow.network_id,
        "cidr": SubnetRow.cidr,
        "gateway_ip": SubnetRow.gateway_ip,
        "enable_dhcp": SubnetRow.enable_dhcp,
    },
)


@dataclass(frozen=True, slots=True)
class Subnets:
    """The resource `subnet`."""

    ports: Ports

    async def create(self, session: AsyncSession, values: Json) -> Json:
        """A new subnet of a network. Raises the refusals of `subnet_rules`, InvalidInput where it overlaps with one of
        the network, and BadRequest where it overlaps with one that a router with its gateway there has inside.
        """
        cidr = subnet_rules.cidr(values)
        gateway = subnet_rules.gateway(values, cidr)
        subnet_rules.check_extras(values, "new subnet")
        if values.get("enable_dhcp", True):
            subnet_rules.check_dhcp(cidr)
        pools = subnet_rules.pools(values.get("allocation_pools"), cidr, gateway)
        network = await lookup.network(session, values["network_id"])
        _refuse_overlap(network, cidr)
        if network.external:  # no other has gateways of routers
            await _refuse_overlap_on_routers(session, network, cidr)
        if network.mtu < LEAST_MTU:
            raise faults.NetworkMTUSubnetConflict(network.id, LEAST_MTU)
        subnet = SubnetRow(
            id=str(uuid4()),
            project_id=values.get("project_id") or "",
            name=values.get("name") or "",
            description=values.get("description") or "",
            network_id=network.id,
            network=network,
            cidr=cidr,
            gateway_ip=gateway,
            enable_dhcp=values.get("enable_dhcp", True),
            dns_nameservers=list(values.get("dns_nameservers") or ()),
            host_routes=list(values.get("host_routes") or ()),
            pools=_pool_rows(pools),
        )
        session.add(subnet)
        network.touch()  # of two overlapping subnets at once, one loses the race for the network
        await session.flush()
        if network.external:  # no other has gateways of routers
            await self._address_gateways(session, network, subnet)
        return views.subnet(subnet)

    async def update(self, session: AsyncSession, subnet_id: str, values: Json) -> Json:
        """Change what `values` names. Raises GatewayIpInUse while a router has the gateway's address, and
        IpAddressAlreadyAllocated where a router's gateway or a floating IP has the new one.
        """
        subnet = await lookup.subnet(session, subnet_id)
        former = subnet.gateway_ip
        subnet_rules.check_extras(values, subnet_id)
        if values.get("enable_dhcp") and not subnet.enable_dhcp:
            subnet_rules.check_dhcp(subnet.cidr)
        if "gateway_ip" in values:
            await _set_gateway(session, subnet, subnet_rules.gateway(values, subnet.cidr))
        pools = [AddressRange(pool.first, pool.last) for pool in subnet.pools]
        if values.get("allocation_pools") is not None:
            pools = subnet_rules.pools(values["allocation_pools"], subnet.cidr, subnet.gateway_ip)
            subnet.pools[:] = _pool_rows(pools)
            subnet.touch()
        subnet_rules.check_gateway_outside(subnet.gateway_ip, pools)
        if subnet.gateway_ip not in (None, former) and subnet.network.external:  # no other has what would send there
            await _refuse_own_next_hop(session, subnet, subnet.gateway_ip)
        for key in ("name", "description", "enable_dhcp"):
            if key in values:
                setattr(subnet, key, values[key])
        for key in ("dns_nameservers", "host_routes"):
            if key in values:
                setattr(subnet, key, list(values[key] or ()))
        await session.flush()
        return views.subnet(await lookup.subnet(session, subnet_id))

    async def delete(self, session: AsyncSession, subnet_id: str) -> None:
        """Delete a subnet that nobody has an address of. Raises SubnetInUse."""
        subnet = await lookup.subnet(session, subnet_id)
        users = select(PortRow.id).join(AddressRow, AddressRow.port_id == PortRow.id)
        users = users.where(AddressRow.subnet_id == subnet_id, PortRow.device_owner.not_in(AUTO_DELETED))
        if await session.scalar(users.limit(1)) is not None:
            raise faults.SubnetInUse(subnet_id)
        subnet.network.touch()
        await delete_subnet(session, subnet)

    async def get(self, session: AsyncSession, subnet_id: str) -> Json:
        """Raises SubnetNotFound."""
        return views.subnet(await lookup.subnet(session, subnet_id))

    async def list(self, session: AsyncSession, filters: pages.Filters, page: pages.Page | None = None) -> list[Json]:
        """Subnets, narrowed by `filters` and `page`."""
        rows = await lookup.matching(session, select(SubnetRow), COLUMNS, filters, page, lookup.SUBNET)
        return [views.subnet(row) for row in rows]

    async def _address_gateways(self, session: AsyncSession, network: NetworkRow, subnet: SubnetRow) -> None:
        """Give an address to the router gateways that have none, because their network had no subnet before."""
        bare = select(PortRow).join(RouterRow, RouterRow.gateway_port_id == PortRow.id)
        bare = bare.where(PortRow.network_id == network.id, ~PortRow.addresses.any())
        for port in await session.scalars(bare.options(*lookup.PORT)):
            await self.ports.readdress(session, port, [{"subnet_id": subnet.id}])
            changes.mark_changed(session, port.device_id)


async def delete_subnet(session: AsyncSession, subnet: SubnetRow) -> None:
    """Delete a subnet that nothing needs any more, and the addresses of the cloud's own ports with it."""
    await session.execute(delete(AddressRow).where(AddressRow.subnet_id == subnet.id))
    await session.delete(subnet)
    await session.flush()


def _pool_rows(pools: Iterable[AddressRange]) -> list[AllocationPoolRow]:
    return [AllocationPoolRow(first=pool.first, last=pool.last) for pool in sorted(pools, key=lambda each: each.first)]


def _refuse_overlap(network: NetworkRow, cidr: IPv4Network) -> None:
    if any(cidr.overlaps(subnet.cidr) for subnet in network.subnets):
        raise faults.InvalidInput(
            f"Requested subnet with cidr: {cidr} for network: {network.id} overlaps with another subnet"
        )


async def _refuse_overlap_on_routers(session: AsyncSession, network: NetworkRow, cidr: IPv4Network) -> None:
    """A router reaches every subnet of its gateway's network, so a new one there must not be one that it has inside."""
    gateway = PortRow.__table__.alias("gateway")
    inside = (
        select(RouterRow.id, SubnetRow.id, SubnetRow.cidr)
        .join(gateway, gateway.c.id == RouterRow.gateway_port_id)
        .join(RouterPortRow, RouterPortRow.router_id == RouterRow.id)
        .join(AddressRow, AddressRow.port_id == RouterPortRow.port_id)
        .join(SubnetRow, SubnetRow.id == AddressRow.subnet_id)
        .where(gateway.c.network_id == network.id)
        .order_by(RouterRow.id, SubnetRow.id)
    )
    for router_id, subnet_id, present in await session.execute(inside):
        if cidr.overlaps(present):
            raise faults.BadRequest(
                "subnets",
                f"Cidr {cidr} of the new subnet overlaps with cidr {present} of subnet {subnet_id} on router "
                f"{router_id}, whose gateway is on network {network.id}",
            )


async def _set_gateway(session: AsyncSession, subnet: SubnetRow, gateway: IPv4Address | None) -> None:
    if gateway == subnet.gateway_ip:
        return
    if subnet.gateway_ip is not None:
        holder = select(AddressRow.port_id).join(RouterPortRow, RouterPortRow.port_id == AddressRow.port_id)
        holder = holder.where(AddressRow.subnet_id == subnet.id, AddressRow.address == subnet.gateway_ip)
        port_id = await session.scalar(holder)
        if port_id is not None:
            raise faults.GatewayIpInUse(subnet.gateway_ip, port_id)
    subnet.gateway_ip = gateway
    await changes.mark_subnet(session, subnet.id)


async def _refuse_own_next_hop(session: AsyncSession, subnet: SubnetRow, gateway: IPv4Address) -> None:
    """A router sends what leaves the cloud to this address, so it must not be one that a router answers for itself."""
    holder = select(AddressRow.subnet_id).join(PortRow, PortRow.id == AddressRow.port_id)
    holder = holder.where(PortRow.network_id == subnet.network_id, AddressRow.address == gateway)
    holder = holder.where(PortRow.device_owner.in_((views.ROUTER_GATEWAY, views.FLOATING_IP)))
    if (holder_id := await session.scalar(holder.limit(1))) is not None:
        raise faults.IpAddressAlreadyAllocated(gateway, holder_id)
