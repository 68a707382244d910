"""Routers: the resource, with its gateway, interfaces and extra routes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gapless.controller.operations import changes, extraroutes, faults, lookup, pages, views
from gapless.controller.operations.gateways import Gateways
from gapless.controller.operations.interfaces import Interfaces
from gapless.controller.operations.ports import Ports
from gapless.controller.operations.views import Json
from gapless.controller.store.tables import HostRow, RouterRow
from gapless.model.router import DEFAULT_FAILOVER_MODE, FailoverMode

COLUMNS = pages.columns(
    RouterRow,
    {
        "admin_state_up": RouterRow.admin_state_up,
        "ha": RouterRow.ha,
        "failover_mode": RouterRow.failover_mode,
    },
)


@dataclass(frozen=True, slots=True)
class Routers:
    """The resource `router`, and its actions."""

    ports: Ports

    async def create(self, session: AsyncSession, values: Json) -> Json:
        """A new router, with a gateway if `external_gateway_info` says so; a host comes later."""
        hints = list(values.get("availability_zone_hints") or ())
        if hints:
            _check_hints(hints, await _zones(session))
        _refuse_distributed(values)
        mode = _mode(values, DEFAULT_FAILOVER_MODE)
        router = RouterRow(
            id=str(uuid4()),
            project_id=values.get("project_id") or "",
            name=values.get("name") or "",
            description=values.get("description") or "",
            admin_state_up=values.get("admin_state_up", True),
            enable_snat=True,
            ha=mode is FailoverMode.STANDBY,
            failover_mode=mode.value,
            availability_zone_hints=hints,
            gateway_port=None,
            ports=[],
            routes=[],
            floating_ips=[],
            binding=None,
        )
        if values.get("external_gateway_info"):
            await Gateways(self.ports).give(session, router, values["external_gateway_info"])
        session.add(router)
        await session.flush()
        changes.mark_changed(session, router.id)
        return views.router(router, {})

    async def update(self, session: AsyncSession, router_id: str, values: Json) -> Json:
        """Change what `values` names: all of it, or nothing."""
        router = await lookup.router(session, router_id)
        zones = await _zones(session)
        _refuse_distributed(values)
        _set_mode(router, values)
        if values.get("availability_zone_hints") is not None:
            _check_hints(values["availability_zone_hints"], zones)
            router.availability_zone_hints = list(values["availability_zone_hints"])
        for key in ("name", "description", "admin_state_up"):
            if key in values:
                setattr(router, key, values[key])
        if "external_gateway_info" in values:
            router = await Gateways(self.ports).set(session, router, values["external_gateway_info"])
        if "routes" in values:
            await extraroutes.replace(session, router, values["routes"] or ())
        extraroutes.check(router)
        await session.flush()
        changes.mark_changed(session, router_id)
        return views.router(router, zones)

    async def delete(self, session: AsyncSession, router_id: str) -> None:
        """Delete a router without interfaces; its gateway and binding go with it. Raises RouterInUse."""
        router = await lookup.router(session, router_id)
        if router.ports:
            raise faults.RouterInUse(router_id, [interface.port_id for interface in router.ports])
        router = await Gateways(self.ports).set(session, router, None)
        await session.delete(router)
        await session.flush()
        changes.mark_deleted(session, router_id)

    async def get(self, session: AsyncSession, router_id: str) -> Json:
        """Raises RouterNotFound."""
        return views.router(await lookup.router(session, router_id), await _zones(session))

    async def list(self, session: AsyncSession, filters: pages.Filters, page: pages.Page | None = None) -> list[Json]:
        """Routers, narrowed by `filters` and `page`."""
        rows = await lookup.matching(session, select(RouterRow), COLUMNS, filters, page, lookup.ROUTER_VIEW)
        zones = await _zones(session)
        return [views.router(row, zones) for row in rows]

    async def add_interface(self, session: AsyncSession, router_id: str, body: Json) -> Json:
        """See `Interfaces.add`."""
        return await Interfaces(self.ports).add(session, router_id, body)

    async def remove_interface(self, session: AsyncSession, router_id: str, body: Json) -> Json:
        """See `Interfaces.remove`."""
        return await Interfaces(self.ports).remove(session, router_id, body)

    async def add_extraroutes(self, session: AsyncSession, router_id: str, body: Json) -> Json:
        """Add the `routes` of `body`; answers `{"router": ...}`."""
        router = await lookup.router(session, router_id)
        await extraroutes.add(session, router, body["routes"])
        changes.mark_changed(session, router_id)
        return {"router": views.router(router, await _zones(session))}

    async def remove_extraroutes(self, session: AsyncSession, router_id: str, body: Json) -> Json:
        """Remove the `routes` of `body`; answers `{"router": ...}`."""
        router = await lookup.router(session, router_id)
        await extraroutes.remove(session, router, body["routes"])
        changes.mark_changed(session, router_id)
        return {"router": views.router(router, await _zones(session))}


async def _zones(session: AsyncSession) -> dict[str, str]:
    """The availability zone of each host."""
    hosts = await session.execute(select(HostRow.name, HostRow.facts))
    return {name: facts.get("availability_zone", views.DEFAULT_ZONE) for name, facts in hosts}


def _check_hints(hints: Sequence[str], zones: Mapping[str, str]) -> None:
    """Raises AvailabilityZoneNotFound for a zone that no host is in."""
    for hint in hints:
        if hint not in zones.values():
            raise faults.AvailabilityZoneNotFound(hint)


def _refuse_distributed(values: Json) -> None:
    if values.get("distributed"):
        raise faults.BadRequest("router", "distributed routers are not supported")


def _mode(values: Json, current: FailoverMode) -> FailoverMode:
    """The failover mode that is asked for, by its name or as Neutron says it: `ha` is true for a router with a standby.

    Raises BadRequest where both are given and contradict each other.
    """
    ha, named = values.get("ha"), values.get("failover_mode")
    if named is not None:
        mode = FailoverMode(named)
        if ha is not None and ha is not (mode is FailoverMode.STANDBY):
            said = f"ha is true exactly where failover_mode is {FailoverMode.STANDBY}; drop one of the two"
            raise faults.BadRequest("router", said)
        return mode
    if ha is None or ha is (current is FailoverMode.STANDBY):
        return current
    return FailoverMode.STANDBY if ha else FailoverMode.RESCHEDULE


def _set_mode(router: RouterRow, values: Json) -> None:
    mode = _mode(values, FailoverMode(router.failover_mode))
    if values.get("ha") not in (None, router.ha) and values.get("admin_state_up", router.admin_state_up):
        raise faults.BadRequest(
            "router",
            "Cannot change HA attribute of active routers. Please set router admin_state_up to False prior to upgrade",
        )
    router.failover_mode, router.ha = mode.value, mode is FailoverMode.STANDBY
