"""Networks: which segment carries them, how large their packets are, who may use them."""

from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import changes, faults, lookup, pages, views
from gapless.controller.operations.floatingips import FloatingIps
from gapless.controller.operations.ports import AUTO_DELETED
from gapless.controller.operations.segments import LEAST_MTU, Segments
from gapless.controller.operations.subnets import delete_subnet
from gapless.controller.operations.views import Json
from gapless.controller.store.tables import FloatingIpRow, NetworkRow, PortRow, RouterRow

COLUMNS = pages.columns(
    NetworkRow,
    {
        "admin_state_up": NetworkRow.admin_state_up,
        "shared": NetworkRow.shared,
        "router:external": NetworkRow.external,
        "mtu": NetworkRow.mtu,
        "provider:network_type": NetworkRow.network_type,
        "provider:physical_network": NetworkRow.physical_network,
        "provider:segmentation_id": NetworkRow.segmentation_id,
    },
)


@dataclass(frozen=True, slots=True)
class Networks:
    """The resource `network`."""

    segments: Segments
    floating_ips: FloatingIps

    async def create(self, session: AsyncSession, values: Json) -> Json:
        """A new network on a segment of its own. Raises the refusals about segments."""
        segment = await self.segments.choose(
            session,
            network_type=values.get("provider:network_type"),
            physical_network=values.get("provider:physical_network"),
            segmentation_id=values.get("provider:segmentation_id"),
        )
        network = NetworkRow(
            id=str(uuid4()),
            project_id=values.get("project_id") or "",
            name=values.get("name") or "",
            description=values.get("description") or "",
            admin_state_up=values.get("admin_state_up", True),
            shared=values.get("shared", False),
            external=values.get("router:external", False),
            network_type=segment.network_type,
            physical_network=segment.physical_network,
            segmentation_id=segment.segmentation_id,
            mtu=self.segments.mtu(segment.network_type, values.get("mtu")),
            subnets=[],
        )
        session.add(network)
        await session.flush()
        return views.network(network)

    async def update(self, session: AsyncSession, network_id: str, values: Json) -> Json:
        """Change what `values` names; the segment stays what it is."""
        network = await lookup.network(session, network_id)
        _refuse_other_segment(network, values)
        if values.get("router:external", network.external) != network.external:
            await _set_external(session, network, values["router:external"])
        if values.get("shared", network.shared) != network.shared:
            await _set_shared(session, network, values["shared"])
        if "mtu" in values:
            await self._set_mtu(session, network, values["mtu"])
        for key in ("name", "description", "admin_state_up"):
            if key in values:
                setattr(network, key, values[key])
        await session.flush()
        return views.network(network)

    async def delete(self, session: AsyncSession, network_id: str) -> None:
        """Delete a network with its subnets, unused floating IPs and the cloud's own ports. Raises NetworkInUse."""
        network = await lookup.network(session, network_id)
        await self._delete_unused_floating_ips(session, network_id)
        in_use = await lookup.ids(
            session, PortRow.id, PortRow.network_id == network_id, PortRow.device_owner.not_in(AUTO_DELETED)
        )
        if in_use:
            raise faults.NetworkInUse(network_id, in_use)
        for port in await session.scalars(
            select(PortRow).where(PortRow.network_id == network_id).options(*lookup.PORT)
        ):
            await self.floating_ips.ports.unplug(session, port)
        for subnet in list(network.subnets):
            await delete_subnet(session, subnet)
        await session.refresh(network, ["subnets"])
        await session.delete(network)
        await session.flush()

    async def get(self, session: AsyncSession, network_id: str) -> Json:
        """Raises NetworkNotFound."""
        return views.network(await lookup.network(session, network_id))

    async def list(self, session: AsyncSession, filters: pages.Filters, page: pages.Page | None = None) -> list[Json]:
        """Networks, narrowed by `filters` and `page`."""
        rows = await lookup.matching(session, select(NetworkRow), COLUMNS, filters, page, lookup.NETWORK)
        return [views.network(row) for row in rows]

    async def _set_mtu(self, session: AsyncSession, network: NetworkRow, wanted: int | None) -> None:
        mtu = self.segments.mtu(network.network_type, wanted)
        if mtu < LEAST_MTU and network.subnets:
            raise faults.NetworkMTUSubnetConflict(network.id, LEAST_MTU)
        if mtu != network.mtu:
            network.mtu = mtu
            await changes.mark_network(session, network.id)

    async def _delete_unused_floating_ips(self, session: AsyncSession, network_id: str) -> None:
        unused = select(FloatingIpRow).where(FloatingIpRow.network_id == network_id, FloatingIpRow.port_id.is_(None))
        for floating_ip in await session.scalars(unused.options(*lookup.FLOATING_IP)):
            await self.floating_ips.release(session, floating_ip)


def _refuse_other_segment(network: NetworkRow, values: Json) -> None:
    """A segment is for life: hosts would carry old and new frames at once while it changed."""
    stored = views.network(network)
    fixed = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
    changed = [key for key in fixed if values.get(key) is not None and values[key] != stored[key]]
    if changed:
        raise faults.InvalidInput(
            f"Plugin does not support updating the following provider network attributes: {', '.join(changed)}"
        )


async def _set_external(session: AsyncSession, network: NetworkRow, external: bool) -> None:
    if not external:
        gateways = select(RouterRow.id).join(PortRow, RouterRow.gateway_port_id == PortRow.id)
        if await session.scalar(gateways.where(PortRow.network_id == network.id).limit(1)) is not None:
            raise faults.ExternalNetworkInUse(network.id)
    network.external = external


async def _set_shared(session: AsyncSession, network: NetworkRow, shared: bool) -> None:
    """Raises InvalidSharedSetting where somebody else would lose what they use."""
    if not shared:
        ports = select(PortRow.id).where(
            PortRow.network_id == network.id,
            PortRow.project_id != network.project_id,
            PortRow.device_owner.not_like("network:%"),
        )
        others = any(subnet.project_id != network.project_id for subnet in network.subnets)
        if others or await session.scalar(ports.limit(1)) is not None:
            raise faults.InvalidSharedSetting(network.name)
    network.shared = shared
