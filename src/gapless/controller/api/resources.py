"""List, show, create, update, delete and act on any resource of the attribute map: five handlers for all of them.

A `Collection` joins a resource's part of the map to the operations that give it meaning. Nothing here knows a
resource by name.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from gapless.controller.api import bodies, queries
from gapless.controller.api.attributes import Resource
from gapless.controller.api.queries import Item
from gapless.controller.api.transactions import Transactions
from gapless.controller.operations.pages import Page

Items = list[Item]
_encoder = msgspec.json.Encoder()


class Reads(Protocol):
    """What a resource that can only be looked at offers. Values are Neutron's names and JSON types."""

    async def get(self, session: AsyncSession, id_: str, /) -> Item:
        """One resource; raises NotFound."""

    async def list(
        self, session: AsyncSession, filters: Mapping[str, Sequence[Any]], page: Page | None = None, /
    ) -> Items:
        """Every resource that may match, and may be on the page; what is too many is sorted out afterwards."""


class Operations(Reads, Protocol):
    """What a resource that can be changed offers. Values are checked by the attribute map beforehand."""

    async def create(self, session: AsyncSession, values: dict[str, Any], /) -> Item: ...

    async def update(self, session: AsyncSession, id_: str, values: dict[str, Any], /) -> Item: ...

    async def delete(self, session: AsyncSession, id_: str, /) -> None: ...


def json_response(content: Any, status: int = HTTPStatus.OK) -> Response:
    """A JSON answer."""
    return Response(_encoder.encode(content), status, media_type="application/json")


def no_content() -> Response:
    """The answer to a deletion."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


def shown(resource: Resource, items: Items) -> Items:
    """Items as callers see them: without attributes that can only be written."""
    if not resource.hidden:
        return items
    return [{key: value for key, value in item.items() if key not in resource.hidden} for item in items]


def listed(
    resource: Resource, query: queries.Query, request: Request, items: Items, marker: Item | None = None
) -> Response:
    """The answer to a list request: of all items those asked for, as asked for; `marker`: the item beside the page."""
    page = queries.select(query, items, marker)
    body: dict[str, Any] = {resource.collection: only(query.fields, page)}
    if links := queries.links(query, request, page):
        body[f"{resource.collection}_links"] = links
    return json_response(body)


def only(fields: frozenset[str], items: Items) -> Items:
    """Items cut down to the fields asked for; with none asked for, whole."""
    if not fields:
        return items
    return [{key: value for key, value in item.items() if key in fields} for item in items]


Dress = Callable[[Item], Item]
"""Adds to an item of the store what only the running controller knows."""


def as_stored(item: Item) -> Item:
    """The dress of what the store knows whole."""
    return item


class Collection:
    """The handlers of one kind of resource."""

    def __init__(
        self, resource: Resource, operations: Operations, transactions: Transactions, dress: Dress = as_stored
    ) -> None:
        self.resource = resource
        self._operations = operations
        self._transactions = transactions
        self._dress = dress

    async def list(self, request: Request) -> Response:
        """GET /{collection}"""
        query = queries.parse(self.resource, request.query_params.multi_items())

        async def work(session: AsyncSession) -> tuple[Items, Item | None]:
            marker = await self._operations.get(session, query.marker) if query.marker is not None else None
            return await self._operations.list(session, query.narrowing, query.page(marker)), marker

        items, marker = await self._transactions.read(work)
        beside = None if marker is None else self._shown([marker])[0]  # or it would be sorted by another status
        return listed(self.resource, query, request, self._shown(items), beside)

    async def show(self, request: Request, id_: str) -> Response:
        """GET /{collection}/{id}"""
        fields = frozenset(each for each in request.query_params.getlist("fields") if each)
        item = await self._transactions.read(lambda session: self._operations.get(session, id_))
        return json_response({self.resource.name: only(fields, self._shown([item]))[0]})

    async def create(self, request: Request) -> Response:
        """POST /{collection}: one, or several that are created together or not at all."""
        wanted, bulk = bodies.created(self.resource, await bodies.read(request))

        async def work(session: AsyncSession) -> Items:
            return [await self._operations.create(session, dict(values)) for values in wanted]

        items = self._shown(await self._transactions.write(work))
        body = {self.resource.collection: items} if bulk else {self.resource.name: items[0]}
        return json_response(body, HTTPStatus.CREATED)

    async def update(self, request: Request, id_: str) -> Response:
        """PUT /{collection}/{id}"""
        values = bodies.updated(self.resource, await bodies.read(request))
        item = await self._transactions.write(lambda session: self._operations.update(session, id_, dict(values)))
        return json_response({self.resource.name: self._shown([item])[0]})

    async def delete(self, request: Request, id_: str) -> Response:
        """DELETE /{collection}/{id}"""
        bodies.refuse_constraint(request)
        await self._transactions.write(lambda session: self._operations.delete(session, id_))
        return no_content()

    def _shown(self, items: Items) -> Items:
        return shown(self.resource, [self._dress(item) for item in items])
