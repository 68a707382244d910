"""A small client of the controller's API, for the lab, which has an address on the management switch."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from gapless.config import API_PORT
from gapless.errors import Conflict, GaplessError, InvalidRequest, NotFound, Unavailable
from gapless.lab.machines import layout

TIMEOUT_S = 30.0
CONNECTIONS = 8
"""Requests under way at once."""
Item = dict[str, Any]


class Api:
    """Neutron's API v2.0 and what Gapless has beside it. Every call raises GaplessError with the server's own words."""

    def __init__(self, url: str = f"http://{layout.CONTROLLER_ADDRESS}:{API_PORT}") -> None:
        self.url = url
        self._client = httpx.AsyncClient(
            base_url=f"{url}/v2.0",
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            trust_env=False,  # a proxy of the machine has no business in here
        )
        self._limit = asyncio.Semaphore(CONNECTIONS)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def create(self, kind: str, **values: Any) -> Item:
        """POST one resource; `kind` is its name in the singular. The resource as the server shows it."""
        return await self._item("POST", f"/{kind}s", kind, {kind: values})

    async def create_all(self, kind: str, every: Sequence[Mapping[str, Any]]) -> list[Item]:
        """POST many resources of a kind in one request, in this order: all of them are made or none."""
        made: list[Item] = (await self._request("POST", f"/{kind}s", {f"{kind}s": list(every)}))[f"{kind}s"]
        return made

    async def update(self, kind: str, id_: str, **values: Any) -> Item:
        """PUT one resource."""
        return await self._item("PUT", f"/{kind}s/{id_}", kind, {kind: values})

    async def delete(self, kind: str, id_: str) -> None:
        """DELETE one resource."""
        await self._request("DELETE", f"/{kind}s/{id_}")

    async def show(self, kind: str, id_: str) -> Item:
        """GET one resource."""
        return await self._item("GET", f"/{kind}s/{id_}", kind)

    async def find(self, kind: str, **filters: Any) -> list[Item]:
        """GET the resources of a kind that match."""
        return await self._items(f"/{kind}s", f"{kind}s", filters)

    async def add_interface(self, router_id: str, **body: str) -> None:
        """Plug a subnet (`subnet_id`) or port (`port_id`) into a router."""
        await self._request("PUT", f"/routers/{router_id}/add_router_interface", body)

    async def remove_interface(self, router_id: str, **body: str) -> None:
        """Unplug a subnet (`subnet_id`) or port (`port_id`) from a router."""
        await self._request("PUT", f"/routers/{router_id}/remove_router_interface", body)

    async def routers(self) -> list[Item]:
        """Where each router is, in what state, and why, as the planner sees it."""
        return await self._items("/gapless/routers", "routers")

    async def hosts(self) -> list[Item]:
        """Every host as the planner sees it."""
        return await self._items("/gapless/hosts", "hosts")

    async def failovers(self, **filters: Any) -> list[Item]:
        """The records of moves, newest first."""
        return await self._items("/gapless/failovers", "failovers", filters)

    async def rebalance(self, most: int) -> list[Item]:
        """Have so many routers go at most so that hosts carry alike; those that go: begun, and not yet done."""
        answer = await self._request("PUT", "/gapless/rebalance", {"rebalance": {"most": most}})
        begun: list[Item] = answer["rebalance"]
        return begun

    async def drain(self, host: str) -> Item:
        """How far a host's routers have left it."""
        return await self._item("GET", f"/gapless/hosts/{host}/drain", "drain")

    async def set_drain(self, host: str, *, wanted: bool, at_once: int | None = None) -> None:
        """Take a host out of service, or put it back. `at_once`: how many routers leave it at a time."""
        pace = {} if at_once is None else {"at_once": at_once}
        await self._request("PUT", f"/gapless/hosts/{host}/drain", {"drain": {"wanted": wanted} | pace})

    async def brake(self) -> Item:
        """The brake on mass moves."""
        return await self._item("GET", "/gapless/brake", "brake")

    async def _item(self, method: str, path: str, key: str, body: Mapping[str, Any] | None = None) -> Item:
        found: Item = (await self._request(method, path, body))[key]
        return found

    async def _items(self, path: str, key: str, filters: Mapping[str, Any] | None = None) -> list[Item]:
        found: list[Item] = (await self._request("GET", path, filters=filters))[key]
        return found

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        filters: Mapping[str, Any] | None = None,
    ) -> Item:
        try:
            async with self._limit:  # so that waiting for a connection does not count as waiting for an answer
                response = await self._client.request(method, path, json=body, params=filters)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"{method} {path}: the controller does not answer: {reason}") from error
        if response.is_error:
            raise _translated(method, path, response)
        answer: Item = response.json() if response.content else {}
        return answer


def _translated(method: str, path: str, response: httpx.Response) -> GaplessError:
    text = f"{method} {path}: {response.status_code} {response.text[:500]}"
    kinds: dict[int, type[GaplessError]] = {404: NotFound, 409: Conflict, 503: Unavailable, 500: Unavailable}
    return kinds.get(response.status_code, InvalidRequest)(text)
