"""Addresses of ports: which are wanted, whether they may be had, which ones to pick.

The rule: nothing here holds a lock. A free address is looked up and then inserted; if another writer inserted it first,
the unique constraint of `addresses` refuses ours, the transaction is a lost race, and begun again it sees the winner's.
A port that is being made is written with all of its addresses at once; what it has got so far is remembered here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from random import Random
from typing import Any

from sqlalchemy import BigInteger, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import faults
from gapless.controller.store.tables import AddressRow, NetworkRow, PortRow, SubnetRow
from gapless.core import addressing
from gapless.core.addressing import AddressRange

MAC_TRIES = 16
"""How many random MAC addresses are tried on a network before giving up; its 16 million are never nearly used up."""
FixedIps = Sequence[Mapping[str, Any]]
"""Neutron's `fixed_ips`: dicts with `subnet_id`, `ip_address` or both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One address that a port should have: this one, or (None) any of the subnet."""

    subnet: SubnetRow
    address: IPv4Address | None


@dataclass(frozen=True, slots=True)
class Ipam:
    """Gives out addresses. `random` decides where a search starts, nothing else."""

    random: Random

    async def assign(
        self, session: AsyncSession, port: PortRow, network: NetworkRow, fixed_ips: FixedIps | None
    ) -> None:
        """Give a port the addresses asked for, instead of those that it has; without wishes (None) one of any subnet.

        What it has already and should keep, it keeps. Nothing is flushed here but what it loses; so the port may be one
        that is not in the session yet. Raises the refusals of `faults` that name an address.
        """
        if fixed_ips is None:
            await self._assign_any(session, port, network)
            return
        kept, added = _changes(port, await _resolved(session, network, fixed_ips))
        if len(kept) < len(port.addresses):
            port.addresses[:] = kept
            await session.flush()
        for wanted in added:
            if wanted.address is None:
                address = await self._pick(session, [wanted.subnet], port)
            elif await _is_used(session, port, wanted.address):
                raise faults.IpAddressAlreadyAllocated(wanted.address, wanted.subnet.id)
            else:
                address = wanted.address
            _give(port, wanted.subnet, address)

    async def free_mac(self, session: AsyncSession, network_id: str) -> str:
        """A MAC address that no port of the network has. Raises NetworkMacAddressGenerationFailure."""
        for _ in range(MAC_TRIES):
            mac = addressing.mac(self.random.randrange(addressing.MAC_NUMBERS))
            if not await mac_in_use(session, network_id, mac):
                return mac
        raise faults.NetworkMacAddressGenerationFailure(network_id)

    async def _assign_any(self, session: AsyncSession, port: PortRow, network: NetworkRow) -> None:
        if not network.subnets:
            return  # a port without addresses, until a subnet is there and asked for
        address = await self._pick(session, network.subnets, port)
        subnet = next(each for each in network.subnets if address in each.cidr)
        _give(port, subnet, address)

    async def _pick(self, session: AsyncSession, subnets: Iterable[SubnetRow], port: PortRow) -> IPv4Address:
        for subnet in subnets:
            address = await self._free_address(session, subnet, port)
            if address is not None:
                return address
        raise faults.IpAddressGenerationFailure(port.network_id)

    async def _free_address(self, session: AsyncSession, subnet: SubnetRow, port: PortRow) -> IPv4Address | None:
        pools = [AddressRange(pool.first, pool.last).span for pool in subnet.pools]
        for window in addressing.windows(pools, self.random.getrandbits(32)):
            number = addressing.first_free(window, await self._used(session, port, window))
            if number is not None:
                return IPv4Address(number)
        return None

    async def _used(self, session: AsyncSession, port: PortRow, window: addressing.Span) -> set[int]:
        between = AddressRow.address.between(IPv4Address(window.first), IPv4Address(window.last))
        number = type_coerce(AddressRow.address, BigInteger)
        stored = await session.scalars(select(number).where(AddressRow.network_id == port.network_id, between))
        return {*stored, *(int(each) for each in _held(port) if window.first <= int(each) <= window.last)}


async def mac_in_use(session: AsyncSession, network_id: str, mac: str) -> bool:
    """Whether a port of the network has this MAC address."""
    found = select(PortRow.id).where(PortRow.network_id == network_id, PortRow.mac_address == mac)
    return await session.scalar(found) is not None


def parse_address(text: str) -> IPv4Address:
    """Raises InvalidInput for what is no IPv4 address."""
    try:
        return IPv4Address(text)
    except AddressValueError as error:
        raise faults.InvalidInput(f"'{text}' is not a valid IPv4 address") from error


def _give(port: PortRow, subnet: SubnetRow, address: IPv4Address) -> None:
    """If another writer has the address by the time that this one is written, that raises LostRace (in the store)."""
    position = max((each.position for each in port.addresses), default=-1) + 1
    port.addresses.append(
        AddressRow(subnet_id=subnet.id, subnet=subnet, network_id=port.network_id, address=address, position=position)
    )


def _held(port: PortRow) -> set[IPv4Address]:
    return {each.address for each in port.addresses}


async def _is_used(session: AsyncSession, port: PortRow, address: IPv4Address) -> bool:
    found = select(AddressRow.id).where(AddressRow.network_id == port.network_id, AddressRow.address == address)
    return address in _held(port) or await session.scalar(found) is not None


async def _resolved(session: AsyncSession, network: NetworkRow, fixed_ips: FixedIps) -> list[Wanted]:
    return [await _resolve(session, network, each) for each in fixed_ips]


async def _resolve(session: AsyncSession, network: NetworkRow, fixed_ip: Mapping[str, Any]) -> Wanted:
    """Which subnet a wish is about, and whether that subnet has such an address."""
    if not network.subnets:
        raise faults.InvalidInput("IP allocation requires subnets for network")
    subnet_id, text = fixed_ip.get("subnet_id"), fixed_ip.get("ip_address")
    address = parse_address(text) if text else None
    if subnet_id:
        subnet = await _subnet_of(session, network, subnet_id)
        if address is not None and address not in addressing.usable(subnet.cidr):
            raise faults.InvalidIpForSubnet(address)
        return Wanted(subnet=subnet, address=address)
    if address is None:
        raise faults.InvalidInput("IP allocation requires subnet_id or ip_address")
    for subnet in network.subnets:
        if address in addressing.usable(subnet.cidr):
            return Wanted(subnet=subnet, address=address)
    raise faults.InvalidIpForNetwork(address)


async def _subnet_of(session: AsyncSession, network: NetworkRow, subnet_id: str) -> SubnetRow:
    subnet = next((each for each in network.subnets if each.id == subnet_id), None)
    if subnet is not None:
        return subnet
    if await session.get(SubnetRow, subnet_id) is None:
        raise faults.SubnetNotFound(subnet_id)
    raise faults.InvalidInput(
        f"Failed to create port on network {network.id}, because fixed_ips included invalid subnet {subnet_id}"
    )


def _changes(port: PortRow, wishes: Iterable[Wanted]) -> tuple[list[AddressRow], list[Wanted]]:
    """What a port keeps of its addresses, and which wishes are left. A wish for any address is met by one it has.

    Addresses wanted by name come first: one picked for another wish could be in their way.
    """
    left = list(port.addresses)
    kept: list[AddressRow] = []
    added: list[Wanted] = []
    for wish in sorted(wishes, key=lambda each: each.address is None):
        match = next(
            (each for each in left if each.subnet_id == wish.subnet.id and wish.address in (None, each.address)),
            None,
        )
        if match is None:
            added.append(wish)
        else:
            left.remove(match)
            kept.append(match)
    return kept, added
