"""The HTTP beside Neutron's: what moved, when and why; what the planner sees; the brake; the arbiters.

Nearly everything here is read from the records and the planner's views. Two things can be done, both an operator's
word: to release the brake, and to confirm that machines are off.
"""

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gapless.controller.api import bodies
from gapless.controller.api.faults import HttpBadRequest
from gapless.controller.api.resources import json_response
from gapless.controller.api.transactions import Transactions
from gapless.controller.controls import Controls
from gapless.controller.store import hostrows, moverows, projection
from gapless.core.ledger.views import RouterStatus
from gapless.errors import Conflict, NotFound, StoreUnavailable, Unavailable
from gapless.model.host import HostName

DEFAULT_FAILOVERS = 100
MOST_FAILOVERS = 10_000
ACTED_ON_S = 5.0
"""How long to wait for the planner, which takes what happens in its order: milliseconds, unless very much does."""
_BRAKE_BODY = 'The body must be {"brake": {"engaged": false}}, with "hosts": ["NAME", ...] for those that were seen'
_CONFIRM_BODY = 'The body must be {"confirm_off": {"hosts": ["NAME", ...]}}, with "dry_run": true to only try'


class GaplessApi:
    """Handlers under /v2.0/gapless."""

    def __init__(self, transactions: Transactions, controls: Controls) -> None:
        self._transactions = transactions
        self._controls = controls

    async def failovers(self, request: Request) -> Response:
        """GET failovers[?router_id=&host=&limit=]: the newest moves, newest first."""
        asked = request.query_params
        if unknown := [key for key in asked if key not in ("router_id", "host", "limit")]:
            raise HttpBadRequest(f"{unknown} is invalid attribute for filtering")
        limit = _limit(asked.get("limit"))
        moves = await self._transactions.read(
            lambda session: moverows.moves(
                session, router_id=asked.get("router_id"), host=asked.get("host"), limit=limit
            )
        )
        return json_response({"failovers": [move.as_json() for move in moves]})

    async def failover(self, request: Request) -> Response:
        """GET failovers/{router_id}/{epoch}: one move with its timeline."""
        router_id, epoch = request.path_params["router_id"], request.path_params["epoch"]
        if not (epoch.isascii() and epoch.isdecimal() and len(epoch) < 16):
            raise NotFound(f"there is no move of router {router_id} to epoch {epoch}")
        move = await self._transactions.read(lambda session: moverows.move(session, router_id, int(epoch)))
        return json_response({"failover": move.as_json()})

    async def hosts(self, _: Request) -> Response:
        """GET hosts: every host as the planner sees it."""
        views = self._controls.hosts()
        return json_response({"hosts": [msgspec.to_builtins(views[name]) for name in sorted(views)]})

    async def routers(self, _: Request) -> Response:
        """GET routers: where each router is, in what state, and why.

        The names are the store's; all else the planner knows, also while the store is gone, and then there are none.
        """
        try:
            names = await self._transactions.read(projection.names)
        except StoreUnavailable:
            names = {}
        known = self._controls.routers()
        return json_response({"routers": [_router(known[each], names.get(each, "")) for each in sorted(known)]})

    async def brake(self, _: Request) -> Response:
        """GET brake: whether mass moves are held back, and for which hosts."""
        return json_response({"brake": msgspec.to_builtins(self._controls.brake())})

    async def set_brake(self, request: Request) -> Response:
        """PUT brake `{"brake": {"engaged": false, "hosts": [NAME, ...]}}`: the hosts that look dead are dead, move
        their routers. 409 if others than those that are named look dead by now: whoever asks has not seen them.

        It answers when the planner has acted on it, with the brake as it is then. 503 if that takes too long: what was
        told to the planner holds, and is acted on when it comes to it.
        """
        hosts = _released(await bodies.read(request))
        unseen = set() if hosts is None else set(self._controls.brake().hosts) - hosts
        if unseen:
            raise MoreHostsSilent(
                f"by now also these look dead: {', '.join(sorted(unseen))}; nothing was released, look again"
            )
        acted_on = self._controls.release_brake(hosts)
        try:
            async with asyncio.timeout(ACTED_ON_S):
                await acted_on
        except TimeoutError:
            raise Unavailable(
                f"the planner was told to release the brake, and did not come to it within {ACTED_ON_S:g} s: look again"
            ) from None
        return json_response({"brake": msgspec.to_builtins(self._controls.brake())})

    async def arbiters(self, _: Request) -> Response:
        """GET arbiters: the panel, who of it is heard, and what to do where a majority is lost."""
        return json_response({"arbiters": msgspec.to_builtins(self._controls.panel())})

    async def confirm_off(self, request: Request) -> Response:
        """PUT confirm-off `{"confirm_off": {"hosts": [NAME, ...], "dry_run": false}}`: an operator has made sure that
        these machines are off. 409 with the reason of each host of which that is not taken; then it is of none.

        In this order: from the first step on nobody comes back under such a name without being told to be above what
        was confirmed; then it is stored; then the planner acts on it.
        """
        hosts, dry_run = _confirmed(await bodies.read(request))
        if objections := self._controls.objections_to_off(hosts):
            raise HostsHeard("; ".join(f"{name}: {objections[name]}" for name in sorted(objections)))
        if not dry_run:
            words = self._controls.bar(hosts)
            await self._transactions.write(lambda session: hostrows.confirm_off(session, words))
            self._controls.hosts_confirmed_off(words)
        return json_response({"confirm_off": {"hosts": hosts, "dry_run": dry_run}})


class MoreHostsSilent(Conflict):
    """Hosts look dead that whoever releases the brake has not named."""


class HostsHeard(Conflict):
    """Machines that are said to be off are heard."""


def _router(status: RouterStatus, name: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(status)
    first = {"standby": status.standby, "standby_state": status.standby_state}
    return {"router_id": status.router_id, "name": name} | plain | first


def _confirmed(body: Any) -> tuple[list[HostName], bool]:
    wanted = body.get("confirm_off") if isinstance(body, dict) else None
    if not isinstance(wanted, dict) or wanted.keys() - {"hosts", "dry_run"}:
        raise HttpBadRequest(_CONFIRM_BODY)
    hosts, dry_run = wanted.get("hosts"), wanted.get("dry_run", False)
    are_names = isinstance(hosts, list) and hosts and all(isinstance(each, str) for each in hosts)
    if not are_names or not isinstance(dry_run, bool):
        raise HttpBadRequest(_CONFIRM_BODY)
    return sorted({HostName(each) for each in wanted["hosts"]}), dry_run


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_FAILOVERS
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= MOST_FAILOVERS and len(text) < 9):
        raise HttpBadRequest(f"limit must be between 1 and {MOST_FAILOVERS}, and not '{text}'")
    return int(text)


def _released(body: Any) -> frozenset[HostName] | None:
    """The hosts that somebody says are dead; None: all that look so."""
    wanted = body.get("brake") if isinstance(body, dict) else None
    if not isinstance(wanted, dict) or "engaged" not in wanted or wanted.keys() - {"engaged", "hosts"}:
        raise HttpBadRequest(_BRAKE_BODY)
    if wanted["engaged"] is not False:
        raise HttpBadRequest("The brake engages by itself; it can only be released: engaged must be false")
    if "hosts" not in wanted:
        return None
    if not isinstance(wanted["hosts"], list) or not all(isinstance(each, str) for each in wanted["hosts"]):
        raise HttpBadRequest(_BRAKE_BODY)
    return frozenset(HostName(each) for each in wanted["hosts"])
