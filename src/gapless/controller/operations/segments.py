"""Segments: what carries a network's frames between hosts, and how much of a packet that takes.

A VXLAN network gets a VNI that no other has; a flat network takes its physical network for itself.
"""

from dataclasses import dataclass
from random import Random

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import faults
from gapless.controller.store.tables import NetworkRow
from gapless.core import addressing
from gapless.core.addressing import Span
from gapless.model.network import VXLAN_OVERHEAD, NetworkType

LEAST_MTU = 68
"""Bytes of the smallest packet that every IPv4 link carries whole (RFC 791)."""
LARGEST_VNI = (1 << 24) - 1
"""VXLAN's segment numbers have 24 bits; 0 is left out, as in Neutron (RFC 7348)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What a network is carried by."""

    network_type: str
    physical_network: str | None = None
    segmentation_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Gives out segments. VNIs that nobody asked for by number come from `first_vni` to `last_vni`."""

    random: Random
    physical_mtu: int
    first_vni: int
    last_vni: int

    async def choose(
        self,
        session: AsyncSession,
        *,
        network_type: str | None,
        physical_network: str | None,
        segmentation_id: int | None,
    ) -> Segment:
        """The segment for a new network. Raises InvalidInput, TunnelIdInUse, FlatNetworkInUse, NoNetworkAvailable."""
        if network_type is None and (physical_network is not None or segmentation_id is not None):
            raise faults.InvalidInput("network_type required")
        match network_type:
            case None | NetworkType.VXLAN:
                return await self._vxlan(session, physical_network, segmentation_id)
            case NetworkType.FLAT:
                return await _flat(session, physical_network, segmentation_id)
            case _:
                raise faults.InvalidInput(f"network_type value '{network_type}' not supported")

    def mtu(self, network_type: str, wanted: int | None) -> int:
        """The MTU in bytes: what is wanted, else the most that the segment carries. Raises InvalidInput for more."""
        most = self.physical_mtu - (VXLAN_OVERHEAD if network_type == NetworkType.VXLAN else 0)
        if wanted and wanted > most:
            raise faults.InvalidInput(f"Requested MTU is too big, maximum is {most}")
        return wanted or most

    async def _vxlan(self, session: AsyncSession, physical_network: str | None, vni: int | None) -> Segment:
        if physical_network is not None:
            raise faults.InvalidInput("provider:physical_network specified for vxlan network")
        if vni is None:
            return Segment(network_type=NetworkType.VXLAN.value, segmentation_id=await self._free_vni(session))
        if not 1 <= vni <= LARGEST_VNI:
            raise faults.InvalidInput(f"segmentation_id {vni} is not a VNI: it must be between 1 and {LARGEST_VNI}")
        if await _used(session, Span(vni, vni)):
            raise faults.TunnelIdInUse(vni)
        return Segment(network_type=NetworkType.VXLAN.value, segmentation_id=vni)

    async def _free_vni(self, session: AsyncSession) -> int:
        for window in addressing.windows([Span(self.first_vni, self.last_vni)], self.random.getrandbits(24)):
            vni = addressing.first_free(window, await _used(session, window))
            if vni is not None:
                return vni
        raise faults.NoNetworkAvailable


async def _used(session: AsyncSession, window: Span) -> set[int]:
    vni = NetworkRow.segmentation_id
    rows = await session.scalars(
        select(vni).where(NetworkRow.network_type == NetworkType.VXLAN, vni.between(window.first, window.last))
    )
    return {each for each in rows if each is not None}


async def _flat(session: AsyncSession, physical_network: str | None, segmentation_id: int | None) -> Segment:
    if not physical_network:
        raise faults.InvalidInput("physical_network required for flat provider network")
    if segmentation_id is not None:
        raise faults.InvalidInput("segmentation_id prohibited for flat provider network")
    taken = select(NetworkRow.id).where(NetworkRow.physical_network == physical_network)
    if await session.scalar(taken) is not None:
        raise faults.FlatNetworkInUse(physical_network)
    return Segment(network_type=NetworkType.FLAT.value, physical_network=physical_network)
