"""Hosts that build while one dies: what is refused is tried again and leaves nothing, and it is said if nothing was."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest

from gapless.errors import NotFound, Unavailable
from gapless.lab.api import Api, Item
from gapless.lab.faults import load
from gapless.lab.faults.load import BusyThenPower
from gapless.lab.lab import Lab
from gapless.lab.settings import LabSettings


class Shelf(Api):
    """Keeps what was created. `refuses`: requests that are refused, by verb and kind; the word "*" is all of them."""

    def __init__(self) -> None:
        super().__init__("http://198.51.100.1")
        self.things: dict[str, str] = {}
        self.plugged: set[str] = set()
        self.refuses: set[str] = set()
        self.asked = 0
        self._numbers = count(1)

    async def _take(self, what: str) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.refuses & {what, "*"}:
            raise Unavailable(f"not now: {what}")

    async def find(self, kind: str, **filters: Any) -> list[Item]:
        return [{"id": "public"}]

    async def create(self, kind: str, **values: Any) -> Item:
        await self._take(f"create {kind}")
        made = f"{kind}-{next(self._numbers)}"
        if kind != "subnet":
            self.things[made] = kind
        return {"id": made}

    async def delete(self, kind: str, id_: str) -> None:
        await self._take(f"delete {kind}")
        if self.things.pop(id_, None) is None:
            raise NotFound(id_)

    async def add_interface(self, router_id: str, **body: str) -> None:
        await self._take("plug")
        self.plugged.add(router_id)

    async def remove_interface(self, router_id: str, **body: str) -> None:
        await self._take("unplug")
        if router_id not in self.plugged:
            raise NotFound(router_id)
        self.plugged.remove(router_id)


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setattr(load, "TRY_AGAIN_S", 0.001)
    monkeypatch.setattr("gapless.lab.waiting.LOOK_AGAIN_S", 0.001)
    async with Lab(LabSettings(hosts=1, routers=0)) as lab:
        await lab.api.close()
        lab.api = Shelf()
        yield lab


async def asked(shelf: Shelf, more: int) -> None:
    wanted = shelf.asked + more
    async with asyncio.timeout(20):
        while shelf.asked < wanted:  # noqa: ASYNC110 - a look each turn of the loop
            await asyncio.sleep(0)


async def test_they_build_on_while_the_host_dies(lab: Lab) -> None:
    assert isinstance(lab.api, Shelf)
    fault = BusyThenPower()
    await fault.prepare(lab)
    await fault.strike(lab)
    await asked(lab.api, 100)
    await fault.let_go(lab)
    before = lab.api.asked
    await fault.let_go(lab)
    assert lab.api.asked == before


async def test_what_stands_is_removed_before_the_next_one_strikes(lab: Lab) -> None:
    assert isinstance(lab.api, Shelf)
    fault = BusyThenPower()
    await fault.prepare(lab)
    await fault.strike(lab)
    await asked(lab.api, 100)
    await fault.let_go(lab)
    assert lab.api.things
    await fault.clear(lab)
    assert (lab.api.things, lab.api.plugged) == ({}, set())
    before = lab.api.asked
    await fault.clear(lab)
    assert lab.api.asked == before


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_builders_that_are_all_refused_wait_between_tries_and_it_is_said_once_that_nothing_was_built(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(lab.api, Shelf)
    fault = BusyThenPower()
    await fault.prepare(lab)
    monkeypatch.setattr(load, "TRY_AGAIN_S", 1000.0)
    lab.api.refuses = {"*"}
    await turns(100)
    before = lab.api.asked
    await fault.strike(lab)
    await turns(100)
    assert lab.api.asked == before
    with pytest.raises(Unavailable, match="nothing was built"):
        await fault.let_go(lab)
    await fault.let_go(lab)


@pytest.mark.parametrize("refused", ["create subnet", "create router", "plug"])
async def test_what_is_half_made_is_removed(lab: Lab, refused: str) -> None:
    assert isinstance(lab.api, Shelf)
    fault = BusyThenPower()
    await fault.prepare(lab)
    lab.api.refuses = {refused}
    await asked(lab.api, 100)
    most = load.BUILDERS * (load.STANDING + 1)
    for _ in range(100):
        await asked(lab.api, 1)
        assert sum(kind == "network" for kind in lab.api.things.values()) <= most
        assert sum(kind == "router" for kind in lab.api.things.values()) <= most
    await fault.let_go(lab)


async def test_what_could_not_be_removed_is_removed_later(lab: Lab) -> None:
    assert isinstance(lab.api, Shelf)
    fault = BusyThenPower()
    await fault.prepare(lab)
    lab.api.refuses = {"delete network"}
    await asked(lab.api, 50)
    lab.api.refuses = set()
    await asked(lab.api, 200)
    await fault.let_go(lab)
    most = load.BUILDERS * (load.STANDING + 1)
    assert sum(kind == "network" for kind in lab.api.things.values()) <= most
