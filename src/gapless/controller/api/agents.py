"""Hosts as Neutron shows them: L3 agents, and the availability zones that they stand in.

An agent's id is its host's instance, so a machine that takes over a name is another agent. What is alive is the
planner's judgement by its monotonic clock; times are for people. `admin_state_up` false drains a host, and nothing is
destroyed. A host is deleted only when it is down and no router is bound to it: `bindings` refers to it, and a router
is never bound to nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from gapless.controller.api import queries
from gapless.controller.api.attributes import AVAILABILITY_ZONE
from gapless.controller.api.queries import Item
from gapless.controller.api.resources import Items, listed
from gapless.controller.api.transactions import HOSTS_ADMIN_CHANGED, HOSTS_FORGOTTEN, Transactions
from gapless.controller.controls import Controls, HostView
from gapless.controller.operations.faults import BadRequest
from gapless.controller.operations.pages import Page
from gapless.controller.store import hostrows
from gapless.controller.store.tables import BindingRow, HostRow
from gapless.errors import Conflict, NotFound
from gapless.model.host import HostName

AGENT_TYPE = "L3 agent"
"""What clients ask for with `--agent-type l3`."""
BINARY = "gapless-host"
TOPIC = "l3_agent"


class AgentNotFound(NotFound):
    """Neutron's error of the same name."""

    neutron_type = "AgentNotFound"

    def __init__(self, id_: str) -> None:
        super().__init__(f"Agent {id_} could not be found.")


class AvailabilityZoneNotFound(NotFound):
    """Neutron's error of the same name."""

    neutron_type = "AvailabilityZoneNotFound"

    def __init__(self, name: str) -> None:
        super().__init__(f"AvailabilityZone {name} could not be found.")


class AgentInUse(Conflict):
    """An agent that is alive, or that routers are bound to, cannot be deleted."""

    neutron_type = "InUse"


async def row_of(session: AsyncSession, id_: str) -> HostRow:
    """The host behind an agent. Raises AgentNotFound."""
    row = await session.scalar(select(HostRow).where(HostRow.instance == id_))
    if row is None:
        raise AgentNotFound(id_)
    return row


class Agents:
    """Operations on agents; the handlers of `resources.py` call them."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    async def list(
        self, session: AsyncSession, filters: Mapping[str, Sequence[Any]], page: Page | None = None
    ) -> Items:
        """Every agent; hosts are few, so filters and pages are left to the caller."""
        rows = await session.scalars(select(HostRow).order_by(HostRow.name))
        return await self.shown(session, rows)

    async def get(self, session: AsyncSession, id_: str) -> Item:
        """One agent."""
        return (await self.shown(session, [await row_of(session, id_)]))[0]

    async def create(self, session: AsyncSession, values: dict[str, Any]) -> Item:
        """Never: agents register themselves."""
        raise BadRequest("agents", "Agent creation using API is not supported")

    async def update(self, session: AsyncSession, id_: str, values: dict[str, Any]) -> Item:
        """Change `description`, or `admin_state_up`: false drains the host, true lets it take routers again."""
        row = await row_of(session, id_)
        if "description" in values:
            row.description = values["description"] or ""
        if (admin_up := values.get("admin_state_up")) is not None:
            hostrows.set_admin_up(row, admin_up=admin_up)
            session.info.setdefault(HOSTS_ADMIN_CHANGED, {})[HostName(row.name)] = admin_up
        return (await self.shown(session, [row]))[0]

    async def delete(self, session: AsyncSession, id_: str) -> None:
        """Forget a host that is gone. Raises AgentInUse while it is alive or routers are bound to it."""
        row = await row_of(session, id_)
        view = self._controls.hosts().get(HostName(row.name))
        if view is not None and view.alive:
            raise AgentInUse(
                f"Agent {id_} cannot be deleted: host {row.name} is alive. Stop it, and wait until it is down."
            )
        if bound := (await _routers_by_host(session)).get(row.name, 0):
            raise AgentInUse(
                f"Agent {id_} cannot be deleted: {bound} router(s) are still bound to host {row.name}. "
                "They leave it when another host can take them."
            )
        await session.delete(row)
        session.info.setdefault(HOSTS_FORGOTTEN, set()).add(HostName(row.name))

    async def shown(self, session: AsyncSession, rows: Iterable[HostRow]) -> Items:
        """Rows as Neutron's agents."""
        views = self._controls.hosts()
        routers = await _routers_by_host(session)
        return [_agent(row, views.get(HostName(row.name)), routers.get(row.name, 0)) for row in rows]


class Zones:
    """GET /availability_zones: where hosts stand."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def list(self, request: Request) -> Response:
        """Every zone that a host stands in; one without a host in service is unavailable."""
        query = queries.parse(AVAILABILITY_ZONE, request.query_params.multi_items())
        zones = await self._transactions.read(_zones)
        marker = None if query.marker is None else next((each for each in zones if each["name"] == query.marker), None)
        if query.marker is not None and marker is None:
            raise AvailabilityZoneNotFound(query.marker)
        return listed(AVAILABILITY_ZONE, query, request, zones, marker)


async def _zones(session: AsyncSession) -> Items:
    in_service: dict[str, bool] = {}
    for row in await session.scalars(select(HostRow)):
        zone = row.facts.get("availability_zone", "")
        in_service[zone] = in_service.get(zone, False) or row.admin_state_up
    return [
        {"name": zone, "resource": "router", "state": "available" if usable else "unavailable"}
        for zone, usable in sorted(in_service.items())
    ]


async def _routers_by_host(session: AsyncSession) -> dict[str, int]:
    rows = await session.execute(select(BindingRow.host, func.count().label("routers")).group_by(BindingRow.host))
    return {row.host: row.routers for row in rows}


def _agent(row: HostRow, view: HostView | None, routers: int) -> Item:
    heard_at = None if view is None else view.heard_at
    return {
        "id": row.instance,
        "agent_type": AGENT_TYPE,
        "binary": BINARY,
        "topic": TOPIC,
        "host": row.name,
        "availability_zone": row.facts.get("availability_zone"),
        "admin_state_up": row.admin_state_up,
        "alive": view is not None and view.alive,
        "created_at": _time(row.created_at),
        "started_at": _time(row.started_at),
        "heartbeat_timestamp": _time(heard_at or row.heartbeat_at),
        "description": row.description or None,
        "resources_synced": None,
        "configurations": {
            "agent_mode": "legacy",
            "routers": routers,
            "capacity": row.facts.get("capacity"),
            "physical_networks": row.facts.get("physical_networks"),
            "data_address": row.facts.get("data_address"),
            "version": row.facts.get("version"),
            "incarnation": row.incarnation,
            "standing": view.standing if view is not None else "unknown",
            "reason": view.reason if view is not None else "",
        },
    }


def _time(at: datetime) -> str:
    """Neutron shows agents' times without zone, meaning UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S")
