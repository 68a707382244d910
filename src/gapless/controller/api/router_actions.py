"""`PUT /routers/{id}/{action}`: what changes a router by something else than an attribute of it.

Each action is one method of the operations on routers; what its body may look like is said here.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from gapless.controller.api import bodies
from gapless.controller.api import validators as v
from gapless.controller.api.attributes import ROUTER, Attribute
from gapless.controller.api.faults import HttpBadRequest
from gapless.controller.api.queries import Item
from gapless.controller.api.resources import Dress, json_response
from gapless.controller.api.transactions import Transactions


class RouterOperations(Protocol):
    """What operations on routers offer beside the usual five; each answers in Neutron's words."""

    async def add_interface(self, session: AsyncSession, id_: str, body: dict[str, Any], /) -> Item: ...

    async def remove_interface(self, session: AsyncSession, id_: str, body: dict[str, Any], /) -> Item: ...

    async def add_extraroutes(self, session: AsyncSession, id_: str, body: dict[str, Any], /) -> Item: ...

    async def remove_extraroutes(self, session: AsyncSession, id_: str, body: dict[str, Any], /) -> Item: ...


Action = Callable[[AsyncSession, str, dict[str, Any]], Coroutine[Any, Any, Item]]

_ROUTES = Attribute(check=v.routes)


class RouterActions:
    """Handlers of the actions, by their names in the path."""

    def __init__(self, operations: RouterOperations, transactions: Transactions, dress: Dress) -> None:
        self._operations = operations
        self._transactions = transactions
        self._dress = dress

    async def add_router_interface(self, request: Request, id_: str) -> Response:
        """`{"subnet_id": ...}` or `{"port_id": ...}`"""
        body = _interface(await bodies.read(request))
        return json_response(await self._run(self._operations.add_interface, id_, body))

    async def remove_router_interface(self, request: Request, id_: str) -> Response:
        """`{"subnet_id": ...}`, `{"port_id": ...}` or both"""
        body = _interface(await bodies.read(request))
        return json_response(await self._run(self._operations.remove_interface, id_, body))

    async def add_extraroutes(self, request: Request, id_: str) -> Response:
        """`{"router": {"routes": [...]}}`; routes that are there already are no error"""
        body = _routes(await bodies.read(request))
        return self._answer(await self._run(self._operations.add_extraroutes, id_, body))

    async def remove_extraroutes(self, request: Request, id_: str) -> Response:
        """`{"router": {"routes": [...]}}`; routes that are not there are no error"""
        body = _routes(await bodies.read(request))
        return self._answer(await self._run(self._operations.remove_extraroutes, id_, body))

    async def _run(self, action: Action, id_: str, body: dict[str, Any]) -> Item:
        return await self._transactions.write(lambda session: action(session, id_, body))

    def _answer(self, done: Item) -> Response:
        return json_response({ROUTER.name: self._dress(done[ROUTER.name])})


def _interface(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise HttpBadRequest("Body contains invalid data" if body is not None else "Resource body required")
    if unknown := [key for key in body if key not in ("subnet_id", "port_id")]:
        raise HttpBadRequest(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
    return body


def _routes(body: Any) -> dict[str, Any]:
    router = body.get(ROUTER.name) if isinstance(body, dict) else None
    if not isinstance(router, dict) or router.keys() != {"routes"}:
        raise HttpBadRequest('The body must be {"router": {"routes": [{"destination": ..., "nexthop": ...}]}}')
    return {"routes": bodies.checked_value("routes", _ROUTES, router["routes"])}
