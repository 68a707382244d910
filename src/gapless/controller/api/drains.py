"""Routers moved by the host: hosts taken out of service, by name, how far their routers have left them and where those
would go; and evened out over all hosts.

There is one truth, Neutron's `admin_state_up` of the host's agent; what is changed here is that. Beside it stands how
many routers may be on their way at a time: stored as well, and forgotten when the host is back in service.
"""

from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from gapless.controller.api import bodies
from gapless.controller.api.faults import HttpBadRequest
from gapless.controller.api.resources import json_response
from gapless.controller.api.transactions import HOSTS_ADMIN_CHANGED, HOSTS_PACED, Transactions
from gapless.controller.controls import Controls
from gapless.controller.store import hostrows
from gapless.controller.store.tables import HostRow
from gapless.errors import NotFound
from gapless.model.host import HostName

MOST_AT_ONCE = 1000
_BODY = (
    f'The body must be {{"drain": {{"wanted": true or false}}}}, with "at_once": 1 to {MOST_AT_ONCE} to set the pace'
)


class Drains:
    """Handlers under /v2.0/gapless/hosts/{host}, and of /v2.0/gapless/rebalance."""

    def __init__(self, transactions: Transactions, controls: Controls) -> None:
        self._transactions = transactions
        self._controls = controls

    async def show(self, request: Request) -> Response:
        """GET drain: how far it is, also of a host in service."""
        host = self._known(HostName(request.path_params["host"]))
        return json_response({"drain": msgspec.to_builtins(self._controls.drain(host))})

    async def prospects(self, request: Request) -> Response:
        """GET prospects: where each router of the host would go."""
        host = self._known(HostName(request.path_params["host"]))
        return json_response({"prospects": [msgspec.to_builtins(each) for each in self._controls.prospects(host)]})

    async def change(self, request: Request) -> Response:
        """PUT drain `{"drain": {"wanted": true, "at_once": 4}}`: take the host out of service, or put it back."""
        host = self._known(HostName(request.path_params["host"]))
        wanted, at_once = _asked(await bodies.read(request))
        await self._transactions.write(lambda session: _drain(session, host, wanted=wanted, at_once=at_once))
        return json_response({"drain": {"host": host, "wanted": wanted}})

    async def shifts(self, _: Request) -> Response:
        """GET rebalance: which routers should go elsewhere."""
        return json_response({"rebalance": [msgspec.to_builtins(each) for each in self._controls.shifts()]})

    async def rebalance(self, request: Request) -> Response:
        """PUT rebalance `{"rebalance": {"most": 4}}`: have so many of them go at most; those that go."""
        begun = self._controls.shifts()[: _most(await bodies.read(request))]
        for each in begun:
            self._controls.move_requested(each.router_id, each.to_host)
        return json_response({"rebalance": [msgspec.to_builtins(each) for each in begun]})

    def _known(self, host: HostName) -> HostName:
        if self._controls.drain(host) is None:
            raise NotFound(f"there is no host {host}: `gapless status` lists those that there are")
        return host


async def _drain(session: AsyncSession, host: HostName, *, wanted: bool, at_once: int | None) -> None:
    """Take it out of service or put it back; a pace is one of a drain only, and stays where none is named."""
    row = await session.get(HostRow, host)
    if row is None:
        raise NotFound(f"there is no host {host} any more")
    hostrows.set_admin_up(row, admin_up=not wanted)
    session.info.setdefault(HOSTS_ADMIN_CHANGED, {})[host] = not wanted
    if wanted and at_once is not None:
        row.drains_at_once = at_once
        session.info.setdefault(HOSTS_PACED, {})[host] = at_once


def _most(body: Any) -> int:
    asked = body.get("rebalance") if isinstance(body, dict) else None
    most = asked.get("most") if isinstance(asked, dict) and asked.keys() == {"most"} else None
    if type(most) is not int or not 1 <= most <= MOST_AT_ONCE:
        raise HttpBadRequest(f'The body must be {{"rebalance": {{"most": 1 to {MOST_AT_ONCE}}}}}')
    return most


def _asked(body: Any) -> tuple[bool, int | None]:
    asked = body.get("drain") if isinstance(body, dict) else None
    if not isinstance(asked, dict) or asked.keys() - {"wanted", "at_once"} or not isinstance(asked.get("wanted"), bool):
        raise HttpBadRequest(_BODY)
    at_once = asked.get("at_once")
    if at_once is not None and (type(at_once) is not int or not 1 <= at_once <= MOST_AT_ONCE):
        raise HttpBadRequest(_BODY)
    return asked["wanted"], at_once
