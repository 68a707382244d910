"""The commands of docs/openstack-client.md, exactly as they stand there, and its table of paths."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_fakes import HEARD_AT, FakeControls, add_host, bind
from fastapi import FastAPI
from fastapi.routing import APIRoute
from openstack_document import DOCUMENT, Block, Shell, blocks, paths
from sqlalchemy import select

from gapless.controller.api.gapless import DEFAULT_FAILOVERS, MOST_FAILOVERS
from gapless.controller.store.engine import Store
from gapless.controller.store.tables import BindingRow, MoveRow, RouterRow
from gapless.lab import running
from gapless.model.plan import Epoch

GAPLESS = (sys.executable, "-m", "gapless")
POLL_S = 0.5


@pytest.mark.timeout(600)
async def test_against_the_api(served: str, store: Store, controls: FakeControls, tmp_path: Path) -> None:
    """Each block for the controller, with a planner that is played here: host1 gets the router, then dies."""
    host1 = await add_host(store, "host1")
    await add_host(store, "host2")
    for name in ("host1", "host2"):
        controls.know(name)
    said: dict[str, str] = {}
    async with Shell.open(HOME=str(tmp_path)) as shell:
        for block in blocks():
            if block.where == "lab: fault":
                await play_reschedule(store, controls)
            elif not block.where.startswith("lab:"):
                commands = block.commands.replace("http://127.0.0.1:9696", served)
                said[block.heading] = said.get(block.heading, "") + await shell.run(commands)
                await place_new_routers(store, controls)
    assert "edge is on host1" in said["Where is it?"]
    assert "XXX" in said["Where did it go?"]
    assert said["Where did it go?"].count("reschedule from host1 to host2: host1 is dead") == 2
    assert [event[0] for event in controls.told if event[0] != "routers_changed"] == [
        "move_requested",
        "move_requested",
        "host_admin_changed",
        "host_admin_changed",
        "router_deleted",
        "router_deleted",
    ]
    assert host1 in said["Where is it?"]


async def test_the_table_has_each_path_of_ours_and_no_other(app: FastAPI) -> None:
    ours = [each for each in app.routes if isinstance(each, APIRoute) and each.path.startswith("/v2.0/gapless")]
    assert sorted(paths()) == sorted((method, each.path) for each in ours for method in each.methods)
    assert f"({DEFAULT_FAILOVERS} unless said otherwise, {MOST_FAILOVERS:,} at most)" in DOCUMENT.read_text()


async def place_new_routers(store: Store, controls: FakeControls) -> None:
    """A planner that knows one host."""
    async with store.reading() as session:
        bound = set(await session.scalars(select(BindingRow.router_id)))
    new = {router for event in controls.told if event[0] == "routers_changed" for router in event[1]} - bound
    for router in new - {event[1] for event in controls.told if event[0] == "router_deleted"}:
        await bind(store, router, "host1")


async def play_reschedule(store: Store, controls: FakeControls) -> None:
    """host1 is dead, and what it had is on host2."""
    controls.know("host1", alive=False, standing="dead")
    async with store.transaction() as session:
        names = {router.id: router.name for router in await session.scalars(select(RouterRow))}
        for binding in await session.scalars(select(BindingRow)):
            binding.host, binding.epoch = "host2", Epoch(2)
            decided = HEARD_AT + timedelta(seconds=150)
            session.add(
                MoveRow(
                    router_id=binding.router_id,
                    epoch=2,
                    router_name=names[binding.router_id],
                    from_host="host1",
                    to_host="host2",
                    kind="reschedule",
                    cause="deadline-1",
                    reason="host1 is dead",
                    last_heard_at=HEARD_AT,
                    decided_at=decided,
                    confirmed_at=decided + timedelta(milliseconds=80),
                )
            )


@pytest.mark.netns
@pytest.mark.timeout(600)
class TestInALab:
    """The same, with real hosts, real packets, and a host that really loses power: one router is taken over, the other
    rescheduled.
    """

    @pytest.fixture
    def lab(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """Labs of this test only; those that it leaves running are ended."""
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        yield tmp_path
        for name in running.names():
            running.the(name).end()

    async def test_the_router_moves_and_the_machine_talks_again(self, lab: Path) -> None:
        script = blocks()
        up, enter_controller = script[0].commands.splitlines()
        assert (script[0].where, enter_controller) == ("lab: up", "gapless lab shell controller")
        async with Shell.open() as here:
            await here.run(f"{up} > {lab}/up 2>&1")
            async with Shell.open(*in_lab("controller"), HOME=str(lab)) as controller:
                for block in script[1:]:
                    await self.follow(block, here, controller)

    async def follow(self, block: Block, here: Shell, controller: Shell) -> None:
        match block.where:
            case "run":
                await controller.run(block.commands)
            case "lab: compute" | "lab: outside":
                known = await controller.run('echo "MAC=$MAC VNI=$VNI"')
                async with Shell.open(*in_lab(block.where.removeprefix("lab: "))) as node:
                    assert "3 received" in await node.run(f"{known}\n{block.commands}")
            case "lab: fault":
                host = (await controller.run("echo $HOST")).strip()
                await active_on(controller, "workshop", host)
                await here.run(f"HOST={host}\n{block.commands}")
                for name, kind in (("edge", "takeover"), ("workshop", "reschedule")):
                    move = await move_from(controller, name, host)
                    assert (move["kind"], move["to_host"] == host) == (kind, False), move
            case "lab: down":
                await here.run(block.commands)
            case _:
                assert block.where == "elsewhere"


def in_lab(node: str) -> tuple[str, ...]:
    return (*GAPLESS, "lab", "exec", node, "--")


async def active_on(controller: Shell, name: str, host: str) -> None:
    """Return when this host says that the router forwards there."""

    def here(found: dict[str, Any]) -> list[Any]:
        return [it for it in found["routers"] if (it["name"], it["host"], it["state"]) == (name, host, "active")]

    await shown(controller, "gapless status --json", here)


async def move_from(controller: Shell, name: str, host: str) -> dict[str, Any]:
    """The router's last move away from there, once it is active elsewhere."""

    def over(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [it for it in found if (it["router_name"], it["from_host"], it["outcome"]) == (name, host, "confirmed")]

    return (await shown(controller, "gapless failovers list --limit 20 --json", over))[0]


async def shown(controller: Shell, command: str, wanted: Callable[[Any], list[Any]]) -> list[Any]:
    """What is wanted of the JSON that this command prints, once there is any."""
    async with asyncio.timeout(120):
        while True:
            if found := wanted(json.loads(await controller.run(command))):
                return found
            await asyncio.sleep(POLL_S)  # between two looks at another process, which tells nobody when it is done
