"""A router's way out: `external_gateway_info`, and the gateway port that stands for it.

What is given replaces what was: without `enable_snat` SNAT is on again. The port stays as long as the network does, and
keeps its addresses unless others are asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import faults, lookup, topology, views
from gapless.controller.operations.ports import Ports
from gapless.controller.operations.views import Json
from gapless.controller.store.tables import NetworkRow, RouterRow


@dataclass(frozen=True, slots=True)
class Gateways:
    """Sets, changes and clears gateways."""

    ports: Ports

    async def set(self, session: AsyncSession, router: RouterRow, info: Json | None) -> RouterRow:
        """Bring a router's gateway to `info`; None or {} clears it. Returns the router read anew.

        The caller then checks its extra routes. Raises RouterExternalGatewayInUseByFloatingIp, NetworkNotFound,
        BadRequest, and what a new port can raise.
        """
        router.enable_snat = bool(info.get("enable_snat", True)) if info else True
        router.touch()
        if not info:
            await self._clear(session, router)
        else:
            network = await lookup.network(session, info["network_id"])
            await self._connect(session, router, network, info.get("external_fixed_ips") or [])
        return await lookup.router(session, router.id)

    async def give(self, session: AsyncSession, router: RouterRow, info: Json) -> None:
        """Give a router that is being made, and is not in the session yet, its gateway. Raises what `set` does."""
        router.enable_snat = bool(info.get("enable_snat", True))
        network = await lookup.network(session, info["network_id"])
        await self._connect(session, router, network, info.get("external_fixed_ips") or [])

    async def _connect(
        self, session: AsyncSession, router: RouterRow, network: NetworkRow, fixed_ips: Sequence[Mapping[str, Any]]
    ) -> None:
        _check_network(network, fixed_ips)
        current = router.gateway_port
        if current is not None and current.network_id == network.id:
            if fixed_ips:
                await self.ports.readdress(session, current, fixed_ips)
            return
        await self._clear(session, router)
        topology.check_new_subnets(router, network.subnets)
        router.gateway_port = await self.ports.plug(
            session,
            network,
            fixed_ips=fixed_ips or None,
            device_id=router.id,
            device_owner=views.ROUTER_GATEWAY,
        )

    async def _clear(self, session: AsyncSession, router: RouterRow) -> None:
        port = router.gateway_port
        if port is None:
            return
        if router.floating_ips:
            raise faults.RouterExternalGatewayInUseByFloatingIp(router.id, port.network_id)
        router.gateway_port = None
        await session.flush()
        await self.ports.unplug(session, port)


def _check_network(network: NetworkRow, fixed_ips: Sequence[Mapping[str, Any]]) -> None:
    if not network.external:
        raise faults.BadRequest("router", f"Network {network.id} is not an external network")
    topology.check_external_addresses("router", network, fixed_ips)
