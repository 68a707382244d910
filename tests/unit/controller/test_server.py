"""The whole controller: it starts with clear lines or not at all, ends when told, and goes on where it was."""

import asyncio
import os
import resource
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from shell_fakes import PATIENCE_S, fake_host

import disks
from gapless.config import Address, ServerSettings
from gapless.controller import key, server
from gapless.controller.server import Listening
from gapless.controller.shell import OpenMove
from gapless.core.planner.planner import Planner
from gapless.errors import InvariantError, StoreUnavailable, Unavailable
from gapless.model.host import HostName
from gapless.model.plan import MoveKind
from gapless.model.router import RouterId

NOBODY = 65534
ANY = Address(host="127.0.0.1", port=0)


def settings(state_dir: Path, *, api: Address = ANY, link: Address = ANY) -> ServerSettings:
    return ServerSettings(state_dir=state_dir, api=api, link=link)


@asynccontextmanager
async def running(wanted: ServerSettings) -> AsyncIterator[Listening]:
    """A controller that is ready; it has ended without an error when the block is over."""
    stop = asyncio.Event()
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(server.run(wanted, stop, ready.set_result))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            task.result()
        yield ready.result()
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await task


async def test_it_serves_the_api_and_the_link_and_goes_on_after_a_restart(
    tmp_path: Path, log: Any, monkeypatch: Any
) -> None:
    state = tmp_path / "made" / "by" / "itself"
    async with running(settings(state)) as first:
        assert stat.S_IMODE((state / "cluster.key").stat().st_mode) == 0o600
        secret = key.load_or_create(state / "cluster.key")
        monkeypatch.setattr("shell_fakes.KEY", secret)
        async with (
            httpx.AsyncClient(base_url=f"http://{first.api}") as api,
            fake_host(first.link.port, "h1", key=secret),
        ):
            assert (await api.get("/v2.0/routers")).json() == {"routers": []}
            assert [each["name"] for each in (await api.get("/v2.0/gapless/hosts")).json()["hosts"]] == ["h1"]
            assert 'gapless_hosts{standing="alive"} 1.0' in (await api.get("/metrics")).text
    async with running(settings(state)) as second:
        assert second.cluster == first.cluster
        async with httpx.AsyncClient(base_url=f"http://{second.api}") as api:
            (known,) = (await api.get("/v2.0/gapless/hosts")).json()["hosts"]
            assert (known["name"], known["standing"]) == ("h1", "expected")
    (start, _) = [line for line in log if line["event"].endswith("is ready")]
    assert (start["cluster"], start["key_file"], start["dead_after_s"]) == (first.cluster, state / "cluster.key", 150)
    assert not [line for line in log if "without TLS" in line["event"]]


async def test_it_says_which_moves_it_goes_on_with(tmp_path: Path, log: Any) -> None:
    """The last controller ended when a host had been given a router, and had not said that it has it."""
    async with running(settings(tmp_path)) as first:
        secret = key.load_or_create(tmp_path / "cluster.key")
        async with (
            httpx.AsyncClient(base_url=f"http://{first.api}") as api,
            fake_host(first.link.port, "h1", key=secret) as host,
        ):
            await host.report()
            router_id = (await api.post("/v2.0/routers", json={"router": {"ha": False}})).json()["router"]["id"]
            await host.until(lambda routers: router_id in routers)
    assert not [line for line in log if line["event"].startswith("Goes on")]
    async with running(settings(tmp_path)):
        (line,) = [line for line in log if line["event"].startswith("Goes on")]
    assert line["event"] == f"Goes on with 1 move that had begun before: router {router_id} to h1 (schedule)"
    assert (line["log_level"], line["moves"]) == ("info", 1)


@pytest.mark.parametrize(("count", "rest"), [(5, ""), (205, ", and 200 more")])
def test_of_many_moves_few_are_named(log: Any, count: int, rest: str) -> None:
    moves = [
        OpenMove(router_id=RouterId(f"r{number}"), kind=MoveKind.RESCHEDULE, host=HostName("h2"))
        for number in range(count)
    ]
    server._tell_open_moves(moves)
    named = ", ".join(f"router r{number} to h2 (reschedule)" for number in range(5))
    (line,) = log
    assert line["event"] == f"Goes on with {count} moves that had begun before: {named}{rest}"


async def test_it_warns_when_others_can_reach_it(tmp_path: Path, log: Any) -> None:
    async with running(settings(tmp_path, link=Address(host="0.0.0.0", port=0))):
        (line,) = [line for line in log if "without TLS" in line["event"]]
        assert line["event"].startswith("The control link listens on 0.0.0.0:")
        assert line["log_level"] == "warning"


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """Else an answer in two parts takes 40 ms more: the second waits until the caller acknowledges the first."""
    with (
        server._listen(ANY) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("which", ["api", "link"])
async def test_an_address_in_use_is_named(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(
            Unavailable, match=rf"cannot listen on {address}: .* in use.*; choose another with --{which}"
        ):
            await server.run(settings(tmp_path, **{which: address}), asyncio.Event())


async def test_two_controllers_cannot_share_a_state_directory(tmp_path: Path) -> None:
    async with running(settings(tmp_path)):
        with pytest.raises(Unavailable, match=f"another controller is running with the state directory {tmp_path}"):
            await server.run(settings(tmp_path), asyncio.Event())


async def test_two_controllers_cannot_share_a_database(tmp_path: Path) -> None:
    """Not by another state directory, nor by another name of the same file."""
    database = tmp_path / "shared.db"
    (tmp_path / "link.db").symlink_to(database)

    def on(name: str, state: str) -> ServerSettings:
        return replace(settings(tmp_path / state), database_url=f"sqlite:///{tmp_path / name}")

    async with running(on("shared.db", "one")):
        for name in ("shared.db", "link.db"):
            with pytest.raises(Unavailable, match=f"another controller is running with the database {database}"):
                await server.run(on(name, "two"), asyncio.Event())
    shutil.copy(tmp_path / "one" / "cluster.key", tmp_path / "two")
    async with running(on("link.db", "two")):
        pass


async def test_an_error_of_the_controller_is_not_taken_for_a_second_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise BlockingIOError("a pipe is full")

    monkeypatch.setattr(server, "_run_on", fail)
    with pytest.raises(BlockingIOError, match="a pipe is full"):
        await server.run(settings(tmp_path), asyncio.Event())


async def test_a_state_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=r"the state directory .*/file cannot be used: File exists"):
        await server.run(settings(tmp_path / "file"), asyncio.Event())


async def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    key.load_or_create(tmp_path / "cluster.key")
    (tmp_path / "gapless.db").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StoreUnavailable, match=r"gapless.db is not a database"):
        await server.run(settings(tmp_path), asyncio.Event())


@pytest.mark.isolated
async def test_on_a_full_disk_it_starts_and_answers_what_can_be_read(tmp_path: Path, log: Any) -> None:
    """Where SQLite left its files beside the database, as after a crash: it needs no room then."""
    await asyncio.to_thread(subprocess.run, ["ip", "link", "set", "lo", "up"], check=True, timeout=30)
    state = disks.mount(tmp_path, megabytes=8)
    async with running(settings(state)) as first:
        crashed = sqlite3.connect(state / "gapless.db")
        crashed.execute("SELECT id FROM cluster").fetchall()
    with closing(crashed):
        disks.fill(state)
        async with running(settings(state)) as second, httpx.AsyncClient(base_url=f"http://{second.api}") as api:
            assert second.cluster == first.cluster
            assert (await api.get("/v2.0/routers")).json() == {"routers": []}
            assert (await api.get("/healthcheck")).status_code == 503


@pytest.mark.isolated
async def test_a_full_disk_on_which_the_database_cannot_be_opened_is_named(tmp_path: Path) -> None:
    state = disks.mount(tmp_path, megabytes=8)
    async with running(settings(state)):
        pass
    disks.fill(state)
    with pytest.raises(StoreUnavailable, match=r"gapless.db cannot be opened because the disk is full: free some"):
        await server.run(settings(state), asyncio.Event())


@pytest.mark.isolated
async def test_a_full_disk_at_the_first_start_is_named(tmp_path: Path) -> None:
    """tmpfs makes empty files on a full disk, so that the key is the first that has no room."""
    state = disks.mount(tmp_path, megabytes=1)
    disks.fill(state)
    with pytest.raises(Unavailable, match=r"cluster.key cannot be made: No space left"):
        await server.run(settings(state), asyncio.Event())


async def test_a_bug_in_the_planner_ends_it_with_its_story(tmp_path: Path, log: Any, monkeypatch: Any) -> None:
    def fail(self: Planner, now: float) -> None:
        raise InvariantError("two hosts have router r\nThe story so far:\n...")

    monkeypatch.setattr(Planner, "on_deadline", fail)
    with pytest.raises(InvariantError, match="the controller ends; see the log"):
        async with running(settings(tmp_path)):
            pass  # It may have been ready before; it ends by the bug all the same.
    assert [line for line in log if line["log_level"] == "critical" and "The story so far" in line["event"]]


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A directory that every user can reach; the tests' own ones belong to root alone when root runs them."""
    with tempfile.TemporaryDirectory(prefix="gapless-test-") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


def start(state: Path, **how: Any) -> "subprocess.Popen[str]":
    """`gapless server` as a process of its own, on ports of its own choice."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [each.getsockname()[1] for each in (one, two)]
    command = [sys.executable, "-c", "import sys; from gapless.cli.main import main; sys.exit(main())", "server"]
    options = ["--state-dir", str(state), "--api", f":{ports[0]}", "--link", f":{ports[1]}"]
    return subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, **how)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as process:
        assert process.stderr is not None
        assert "Controller 0.1.0 is ready" in process.stderr.readline()
        process.send_signal(number)
        _, rest = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Controller stopped" in rest
    assert "Traceback" not in rest


def test_the_process_may_have_as_many_connections_as_it_is_allowed(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
    try:
        with start(tmp_path) as process:
            assert process.stderr is not None
            assert "is ready" in process.stderr.readline()
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (before[1], before[1])
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("what", ["state directory", "old state directory", "database", "key"])
def test_without_permission_the_process_ends_with_one_line(public_dir: Path, what: str) -> None:
    """As a real process of an ordinary user: root is not stopped by modes."""
    user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    state = public_dir / "state"
    if what == "state directory":
        state.mkdir(mode=0o555)
    else:
        with start(state, **user) as process:
            assert process.stderr is not None
            process.stderr.readline()
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
        spoilt = {"old state directory": ("", 0o500), "database": ("gapless.db", 0o400), "key": ("cluster.key", 0o640)}
        name, mode = spoilt[what]
        (state / name).chmod(mode)
    with start(state, **user) as process:
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    (line,) = said.splitlines()
    expected = {
        "state directory": f"gapless server: the state directory {state} cannot be used: Permission denied",
        "old state directory": f"gapless server: the database {state}/gapless.db is read-only: give this user",
        "database": f"gapless server: the database {state}/gapless.db is read-only",
        "key": f"gapless server: the key file {state}/cluster.key has mode 0640",
    }
    assert line.startswith(expected[what])
