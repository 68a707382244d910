"""Neutron's L3-agent scheduler: which routers an agent carries, and moving them by hand.

A router here is never bound to nobody, and has one host at a time, so two of Neutron's verbs mean a little more:

- *Add* a router to an agent (POST l3-routers): where Neutron refuses with 409 what another agent already has, the
  router is moved. People come here to move a router; the two steps that Neutron asks for (remove, add) leave it
  without a host in between, and the `openstack` client shows no error of this call, so a refusal would look like
  success.
- *Remove* a router from an agent (DELETE l3-routers/{id}): the planner binds it to another host. Where no other host
  can take it the answer is 409, and it stays: a router on a host that one wants to empty is better than a router
  nowhere.

An agent *has* a router that is active there or stands by there, and lists both, as a router lists its agents. *Add* and
*remove* are about the one where it is active: which hosts stand by is the planner's choice, so removing a standby is
refused.

Both answer when the move is asked for, not when it is done. Whether a host can take the router is the planner's
judgement at that moment; should it change before the move is decided, the planner keeps the wish until the router is
added to the agent that it is on, and the router says what it waits for in /v2.0/gapless/routers. A controller that is
started anew has forgotten the wish. A move that was decided is in /v2.0/gapless/failovers.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from sqlalchemy import String, cast, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from gapless.controller.api import agents, bodies
from gapless.controller.api.attributes import AGENT, ROUTER
from gapless.controller.api.faults import HttpBadRequest
from gapless.controller.api.resources import Dress, Reads, json_response, no_content, shown
from gapless.controller.api.transactions import Transactions
from gapless.controller.controls import Controls
from gapless.controller.operations import faults
from gapless.controller.store.tables import BindingRow, HostRow, RouterRow
from gapless.errors import Conflict, NotFound
from gapless.model.host import HostName
from gapless.model.router import RouterId


class InvalidL3Agent(NotFound):
    """Neutron's error of the same name, its status included."""

    neutron_type = "InvalidL3Agent"

    def __init__(self, id_: str) -> None:
        super().__init__(f"Agent {id_} is not a L3 Agent or has been disabled")


class RouterSchedulingFailed(Conflict):
    """The agent named cannot take the router now."""

    neutron_type = "RouterSchedulingFailed"

    def __init__(self, router_id: str, agent_id: str, reason: str) -> None:
        super().__init__(f"Failed scheduling router {router_id} to the L3 Agent {agent_id}. {reason}")


class RouterNotHostedByL3Agent(Conflict):
    """The router is somewhere else."""

    neutron_type = "RouterNotHostedByL3Agent"

    def __init__(self, router_id: str, agent_id: str) -> None:
        super().__init__(f"The router {router_id} is not hosted by the L3 Agent {agent_id}.")


class RouterStandsBy(Conflict):
    """The router is active somewhere else, and this host may take it over. Neutron's error, with a text of its own."""

    neutron_type = "RouterNotHostedByL3Agent"

    def __init__(self, router_id: str, agent_id: str, active_on: str) -> None:
        super().__init__(
            f"The router {router_id} stands by on the L3 Agent {agent_id}, and is active on host {active_on}. "
            "Which hosts stand by is the planner's choice; to have none there, take the agent out of service "
            "(openstack network agent set --disable)."
        )


class RouterReschedulingFailed(Conflict):
    """No other agent can take the router, so it stays."""

    neutron_type = "RouterReschedulingFailed"

    def __init__(self, router_id: str, host: str, reasons: Mapping[HostName, str]) -> None:
        why = "; ".join(f"{name} {reason}" for name, reason in sorted(reasons.items())) or "there is no other host"
        super().__init__(
            f"Failed rescheduling router {router_id}: no eligible l3 agent found. It stays on {host}, since a router "
            f"is never left without a host: {why}."
        )


class Scheduler:
    """Handlers of agents' routers and of routers' agents."""

    def __init__(
        self, transactions: Transactions, controls: Controls, agents_: agents.Agents, routers: Reads, with_status: Dress
    ) -> None:
        self._transactions = transactions
        self._controls = controls
        self._agents = agents_
        self._routers = routers
        self._with_status = with_status

    async def routers_of_agent(self, _: Request, id_: str) -> Response:
        """GET /agents/{id}/l3-routers: those that are active there, and those that stand by."""

        async def work(session: AsyncSession) -> list[dict[str, Any]]:
            host = await agents.row_of(session, id_)
            ids = await _routers_of(session, host.name)
            return await self._routers.list(session, {"id": ids}) if ids else []

        items = [self._with_status(item) for item in await self._transactions.read(work)]
        return json_response({ROUTER.collection: shown(ROUTER, items)})

    async def agents_of_router(self, _: Request, id_: str) -> Response:
        """GET /routers/{id}/l3-agents: the agent that a router is bound to, or none yet, and those of its standbys."""

        async def work(session: AsyncSession) -> list[dict[str, Any]]:
            await _require_router(session, id_)
            bound = (await session.scalars(select(BindingRow).where(BindingRow.router_id == id_))).one_or_none()
            if bound is None:
                return []
            names = [bound.host, *_standbys(bound.successors)]
            hosts = select(HostRow).where(HostRow.name.in_(names)).order_by(HostRow.name)
            items = shown(AGENT, await self._agents.shown(session, await session.scalars(hosts)))
            return [item | {"ha_state": _ha_state(bound, item["host"])} for item in items]

        return json_response({AGENT.collection: await self._transactions.read(work)})

    async def add(self, request: Request, id_: str) -> Response:
        """POST /agents/{id}/l3-routers `{"router_id": ...}`: move the router to this agent; one that is there stays."""
        router_id = _router_id(await bodies.read(request))

        async def work(session: AsyncSession) -> HostName:
            host = await agents.row_of(session, id_)
            await _require_router(session, router_id)
            bound_to = await session.scalar(select(BindingRow.host).where(BindingRow.router_id == router_id))
            if not (host.admin_state_up or bound_to == host.name):
                raise InvalidL3Agent(id_)
            return HostName(host.name)

        target = await self._transactions.read(work)
        if objection := self._controls.objections(RouterId(router_id)).get(target):
            raise RouterSchedulingFailed(router_id, id_, f"Host {target} {objection}.")
        # Also where it is already: somebody may have asked for another host, and that be still waited for.
        self._controls.move_requested(RouterId(router_id), target)
        return json_response(None, HTTPStatus.CREATED)  # Neutron's body; the client reads it

    async def remove(self, request: Request, id_: str, router_id: str) -> Response:
        """DELETE /agents/{id}/l3-routers/{router_id}: move the router anywhere else."""
        bodies.refuse_constraint(request)

        async def work(session: AsyncSession) -> HostName:
            host = await agents.row_of(session, id_)
            await _require_router(session, router_id)
            bound = (await session.scalars(select(BindingRow).where(BindingRow.router_id == router_id))).one_or_none()
            if bound is not None and host.name in _standbys(bound.successors):
                raise RouterStandsBy(router_id, id_, bound.host)
            if bound is None or bound.host != host.name:
                raise RouterNotHostedByL3Agent(router_id, id_)
            return HostName(host.name)

        host = await self._transactions.read(work)
        objections = self._controls.objections(RouterId(router_id))
        if all(objections.values()):  # with no other host at all, too
            raise RouterReschedulingFailed(router_id, host, objections)
        self._controls.move_requested(RouterId(router_id), None)
        return no_content()


def _ha_state(bound: BindingRow, host: str) -> str | None:
    """As Neutron has it: None for a router without leases."""
    if bound.incarnation is None:
        return None
    return "active" if bound.host == host else "standby"


async def _routers_of(session: AsyncSession, host: str) -> list[str]:
    """The routers that are active on a host or stand by there."""
    named = cast(BindingRow.successors, String).contains(host, autoescape=True)  # narrows: a name may be in another's
    columns = select(BindingRow.router_id, BindingRow.host, BindingRow.successors)
    rows = await session.execute(columns.where(or_(BindingRow.host == host, named)))
    return [row.router_id for row in rows if row.host == host or host in _standbys(row.successors)]


def _standbys(successors: Iterable[Mapping[str, Any]]) -> list[str]:
    return [each["host"] for each in successors]


async def _require_router(session: AsyncSession, router_id: str) -> None:
    if await session.scalar(select(RouterRow.id).where(RouterRow.id == router_id)) is None:
        raise faults.RouterNotFound(router_id)


def _router_id(body: Any) -> str:
    if not isinstance(body, dict) or "router_id" not in body:
        raise HttpBadRequest("Failed to parse request. Required attribute 'router_id' not specified")
    checked: str = bodies.checked_value("router_id", ROUTER.attributes["id"], body["router_id"])
    return checked
