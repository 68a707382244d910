"""`gapless server`, put together: store, planner and its shell, control link, API. One task group; one way to end.

Order: everything that can be refused is refused before anything listens, with one line that says what to change. At
the end the links close first, so that hosts know, then the API; what was still to be recorded gets a few seconds.
"""

import asyncio
import errno
import fcntl
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from sqlalchemy import URL

from gapless import __version__
from gapless.config import Address, Liveness, ServerSettings
from gapless.controller import garbage, key
from gapless.controller.api.app import create_app
from gapless.controller.shell import OpenMove, Shell, assemble
from gapless.controller.store.engine import Store, file_of
from gapless.errors import GaplessError, InvariantError, Unavailable
from gapless.kernel.limits import allow_descriptors
from gapless.observe.log import get_logger
from gapless.observe.notify import Condition, ServiceManager

LAST_WRITES_S = 3.0
DATABASE = "gapless.db"
LOCK = "controller.lock"
NAMED_MOST = 5
"""Moves that are named, of those that are taken up again; the records have them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a controller that is ready can be reached."""

    cluster: str
    api: Address
    link: Address


def main(settings: ServerSettings) -> None:
    """Run the controller until SIGTERM or SIGINT. Raises GaplessError with one clear line if it cannot."""

    async def until_signalled() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        garbage.begin()
        await run(settings, stop, lambda _: garbage.ready(settings.liveness.dead_after_s), manager)

    allow_descriptors()  # Callers of the API may be many and idle, and must leave some for hosts.
    with closing(ServiceManager.found_in(os.environ)) as manager:
        asyncio.run(until_signalled())


async def run(
    settings: ServerSettings,
    stop: asyncio.Event,
    ready: Callable[[Listening], None] = lambda _: None,
    manager: ServiceManager | None = None,
) -> None:
    """Run the controller until `stop`; `ready` is called, and the service manager told, when it can be reached."""
    with _state_alone(settings.state_dir):
        url = settings.database_url or _own_database(settings.state_dir)
        database = file_of(url)
        with _database_alone(database):
            secret = key.load_or_create(settings.key_file, database)
            store = await Store.open(url)
            try:
                await _run_on(store, secret, settings, stop, ready, manager or ServiceManager())
            finally:
                await store.close()
    get_logger().info("Controller stopped")


async def _run_on(
    store: Store,
    secret: bytes,
    settings: ServerSettings,
    stop: asyncio.Event,
    ready: Callable[[Listening], None],
    manager: ServiceManager,
) -> None:
    """Put the parts together and run them until `stop`, or until one of them fails."""
    clock = asyncio.get_running_loop().time
    shell = await assemble(
        store,
        key=secret,
        liveness=settings.liveness,
        lease=settings.lease,
        standbys=settings.standbys,
        clock=clock,
        keep_moves_days=settings.keep_moves_days,
    )
    app = create_app(store=store, settings=settings, controls=shell.pilot, metrics=shell.metrics)
    api = _Api(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=3)
    )
    with _listen(settings.api) as api_socket:
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(each.run()) for each in shell.tasks]
                async with shell.link.listening(settings.link) as link_port:
                    serving = tasks.create_task(api.serve(sockets=[api_socket]))
                    listening = Listening(
                        cluster=shell.cluster,
                        api=Address(host=settings.api.host, port=api_socket.getsockname()[1]),
                        link=Address(host=settings.link.host, port=link_port),
                    )
                    _tell_start(settings, listening)
                    _tell_open_moves(shell.open_moves)
                    ready(listening)
                    running.append(tasks.create_task(manager.follow(lambda: _condition(shell, listening))))
                    await stop.wait()
                    get_logger().info("Controller stops")
                    running.pop().cancel()  # Else it may say that it is ready after it has said that it stops.
                    manager.stops("stores what was still to be stored")
                api.should_exit = True
                await serving
                for task in running:
                    task.cancel()
        except BaseExceptionGroup as group:
            raise _why(group) from group
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WRITES_S):
            await shell.write_the_rest()


def _condition(shell: Shell, listening: Listening) -> Condition:
    """It is asked for from when the API and the control link listen."""
    standings = Counter(each.standing for each in shell.pilot.hosts().values())
    hosts = ", ".join(f"{count} {standing}" for standing, count in sorted(standings.items())) or "none"
    brake = "; the brake is engaged" if shell.pilot.brake().engaged else ""
    return Condition(
        is_ready=True, status=f"API on {listening.api}, control link on {listening.link}; hosts: {hosts}{brake}"
    )


def _why(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one reason why the controller ends, if it is one that a person can act on; else all there is."""
    reason: BaseException = group.subgroup(GaplessError) or group
    while isinstance(reason, BaseExceptionGroup) and len(reason.exceptions) == 1:
        reason = reason.exceptions[0]
    if isinstance(reason, InvariantError):
        # A bug of ours. What is stored and what hosts report is enough to go on from: whoever runs us starts us again.
        get_logger().critical(str(reason))
        return InvariantError(
            "a decision that cannot be right was about to be taken, so the controller ends; see the log"
        )
    return reason


class _Api(uvicorn.Server):
    """Uvicorn, leaving signals to the controller."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextmanager
def _state_alone(state_dir: Path) -> Iterator[None]:
    """Hold the state directory; it is made if it is not there."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _open_lock(state_dir / LOCK)
    except OSError as error:
        raise Unavailable(
            f"the state directory {state_dir} cannot be used: {error.strerror}; "
            f"{_remedy(error, 'make it writable for this user')}, or name another with --state-dir"
        ) from error
    with _held(descriptor, f"the state directory {state_dir}"):
        yield


@contextmanager
def _database_alone(database: Path) -> Iterator[None]:
    """Hold the database, which need not be in the state directory: two planners on one store would move routers behind
    each other's back."""
    path = database.with_name(f"{database.name}.lock")
    try:
        descriptor = _open_lock(path)
    except OSError as error:
        raise Unavailable(
            f"the database's lock {path} cannot be used: {error.strerror}; "
            f"{_remedy(error, 'make the directory of the database writable for this user')}, or name another "
            "database with --database"
        ) from error
    with _held(descriptor, f"the database {database}"):
        yield


def _remedy(error: OSError, otherwise: str) -> str:
    """What to do about a file that cannot be made."""
    return "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else otherwise


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def _held(descriptor: int, what: str) -> Iterator[None]:
    """Hold a lock until the block, or this process, ends; then close its file."""
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another controller is running with {what}") from None
        yield
    finally:
        os.close(descriptor)


def _own_database(state_dir: Path) -> str:
    return URL.create("sqlite", database=str(state_dir.resolve() / DATABASE)).render_as_string()


@contextmanager
def _listen(address: Address) -> Iterator[socket.socket]:
    """A listening socket for the API, so that an address in use is one clear line and not uvicorn's exit."""
    try:
        family, *_, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(where[:2], family=family)
    except OSError as error:
        raise Unavailable(
            f"the API cannot listen on {address}: {error.strerror or error}; choose another with --api"
        ) from error
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, which this one does not; and
    # without it the second half of each answer waits for the caller's delayed acknowledgement: 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listening:
        yield listening


def _tell_start(settings: ServerSettings, listening: Listening) -> None:
    log = get_logger()
    log.info(
        f"Controller {__version__} is ready",
        api=f"http://{listening.api}",
        link=f"ws://{listening.link}",
        cluster=listening.cluster,
        key_file=settings.key_file,
        **_numbers(settings.liveness),
    )
    for what, address in (("API", listening.api), ("control link", listening.link)):
        if not _is_loopback(address.host):
            log.warning(f"The {what} listens on {address} without TLS: let only a trusted network reach it")


def _tell_open_moves(moves: Sequence[OpenMove]) -> None:
    """What the last controller left in the middle, and this one brings to its end: the end of each is a line, too."""
    if moves:
        named = [f"router {move.router_id} to {move.host} ({move.kind})" for move in moves[:NAMED_MOST]]
        more = [f"and {len(moves) - NAMED_MOST} more"] if len(moves) > NAMED_MOST else []
        count = f"{len(moves)} move{'s' if len(moves) > 1 else ''}"
        get_logger().info(f"Goes on with {count} that had begun before: {', '.join(named + more)}", moves=len(moves))


def _numbers(liveness: Liveness) -> dict[str, float]:
    return {
        "report_interval_s": liveness.report_interval_s,
        "agent_down_time_s": liveness.agent_down_time_s,
        "dead_after_s": liveness.dead_after_s,
        "brake_share": liveness.brake_share,
        "agent_patience_s": liveness.agent_patience_s,
    }


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
