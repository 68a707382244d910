"""The host's end of the control link: connect, prove and be proven, follow the plan, report; and start anew.

The rule: nothing of what the other side says is believed before it has proven the cluster's key, and a host belongs to
one cluster for ever: the id of the one that first welcomed it is kept on its disk. A session ends for one of four
reasons, and each leads to another one: the link broke or the controller went silent (back-off), a change is missing
(the same: the next session begins with a snapshot), or somebody refuses (a slower back-off, until a person acts).
A lost link changes nothing about routers.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import CloseCode

from gapless.config import Address
from gapless.core.backoff import Backoff, Pace
from gapless.core.hostplan import Difference, HostPlan
from gapless.errors import Conflict, GaplessError, Refused, Unavailable
from gapless.model.host import HostFacts, Incarnation
from gapless.model.plan import PanelPlan
from gapless.observe.log import get_logger
from gapless.wire import messages, proof
from gapless.wire.messages import PROTOCOL, Bury, Challenge, Change, FromController, Hello, Report, Snapshot, Welcome

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""A snapshot of 1,000 routers has about 2 MB."""
TRANSIENT_REFUSALS = frozenset({"busy", "late"})
"""Codes of refusals that pass without anybody doing anything."""


LARGEST_INCARNATION = 2**53
"""What a controller takes for impossible in a hello."""
RETRY = Pace(first_s=0.2, most_s=1.0, settled_s=10.0, jitter=0.5)
REFUSED = Pace(first_s=5.0, most_s=60.0, jitter=0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """How long to wait for what, in seconds."""

    retry: Pace = RETRY
    refused: Pace = REFUSED
    handshake_s: float = 10.0
    say_again_s: float = 60.0
    """How often a trouble that goes on is logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a host says of itself, and what it proves it with."""

    facts: HostFacts
    incarnation: Incarnation
    key: bytes


class Membership(Protocol):
    """What the link is for: implemented by the sentinel's driver."""

    @property
    def cluster(self) -> str | None:
        """The cluster that this host belongs to, if it was ever welcomed."""

    def outlives(self, up_to: Incarnation) -> None:
        """Incarnations up to this one belong to other machines that had this host's name. Said before `joined`."""

    async def joined(self, cluster: str) -> None:
        """This host belongs to `cluster` from now on; durable on return. Raises Unavailable."""

    def welcomed(self, report_interval_s: float) -> None:
        """A session began."""

    def planned(self, plan: HostPlan, *, heard: int, panel: PanelPlan | None) -> None:
        """The controller said what this host should run, knowing the first `heard` reports of this session. `panel`:
        the arbiters; None: as before.
        """

    def bury(self, asked: Bury) -> None:
        """The controller claims a tenure at this host, as an arbiter."""

    def parted(self, error: GaplessError) -> None:
        """There is no session: it ended, or could not begin. `error` is Refused where somebody said no."""

    async def next_report(self) -> Report:
        """Wait for the next report that is due in this session."""


class Link:
    """Keeps a control link to one controller."""

    def __init__(
        self, server: Address, credentials: Credentials, membership: Membership, tempo: Tempo | None = None
    ) -> None:
        self._server = server
        self._credentials = credentials
        self._membership = membership
        self._tempo = tempo or Tempo()
        self._retry = Backoff(self._tempo.retry)
        self._refused = Backoff(self._tempo.refused)
        self._said: tuple[str, float] = ("", 0.0)
        self._log = get_logger().bind(server=str(server))

    async def run(self) -> None:
        """Until cancelled: one session after another."""
        loop = asyncio.get_running_loop()
        while True:
            began_at = loop.time()
            ended = await self._session()
            held_s = loop.time() - began_at
            wait_s = self._refused.after() if isinstance(ended, Refused) else self._retry.after(held_s)
            self._membership.parted(ended)
            self._say(ended, wait_s, loop.time())
            await asyncio.sleep(wait_s)

    def _say(self, ended: GaplessError, wait_s: float, now: float) -> None:
        """The first time, and then once a minute: at night the reason is read, not counted."""
        reason, said_at = self._said
        if str(ended) == reason and now - said_at < self._tempo.say_again_s:
            return
        self._said = (str(ended), now)
        what = "control link refused" if isinstance(ended, Refused) else "no control link"
        self._log.warning(f"{what}: {ended}; trying again in {wait_s:.1f} s; routers go on forwarding")

    async def _session(self) -> GaplessError:
        """One session from beginning to end; returns why it ended."""
        try:
            async with self._connected() as socket:
                async with asyncio.timeout(self._tempo.handshake_s):
                    welcome = await self._shake_hands(socket)
                await self._join(welcome)
                await self._stay(socket, welcome)
        except TimeoutError:
            return Unavailable(f"it said nothing that a controller says within {self._tempo.handshake_s:g} s")
        except GaplessError as error:
            return error

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClientConnection]:
        try:
            socket = await connect(
                f"ws://{self._server}/",
                proxy=None,  # settings come from the command line, not from http_proxy
                compression=None,
                user_agent_header=None,
                open_timeout=self._tempo.handshake_s,
                close_timeout=1.0,
                ping_interval=None,  # see _notice_silence
                max_size=MESSAGE_BYTES_MAX,
            )
        except OSError as error:  # a TimeoutError too
            reason = os.strerror(error.errno) if error.errno else str(error) or "no answer"
            raise Unavailable(f"it cannot be reached: {reason}") from error
        except WebSocketException as error:
            raise Unavailable(
                f"what answers there is no controller's control link: {error}; --server names that, and not the API"
            ) from error
        try:
            yield socket
        except ConnectionClosed as closed:
            raise Unavailable(f"it closed the link: {closed}") from closed
        except asyncio.CancelledError:
            await socket.close(CloseCode.GOING_AWAY, "the sentinel ends")
            raise
        finally:
            # Not close(), which waits: the other side may be gone without a word.
            socket.transport.abort()

    # --- the handshake

    async def _shake_hands(self, socket: ClientConnection) -> Welcome:
        """Both sides prove the key. Raises Refused or Unavailable."""
        challenge = await self._receive(socket)
        if not isinstance(challenge, Challenge):
            raise self._refusal(challenge) or Unavailable("its first word is no challenge")
        await self._check(socket, challenge)
        host_nonce = proof.fresh_nonce()
        facts, incarnation, key = self._credentials.facts, self._credentials.incarnation, self._credentials.key
        said = proof.host_proof(
            key,
            cluster=challenge.cluster,
            server_nonce=challenge.nonce,
            host_nonce=host_nonce,
            facts=facts,
            incarnation=incarnation,
        )
        hello = Hello(protocol=PROTOCOL, facts=facts, incarnation=incarnation, nonce=host_nonce, proof=said)
        await socket.send(messages.encode(hello), text=True)
        welcome = await self._receive(socket)
        if not isinstance(welcome, Welcome):
            raise self._refusal(welcome) or Unavailable("it answered a hello with something else than a welcome")
        expected = proof.server_proof(
            key,
            cluster=challenge.cluster,
            server_nonce=challenge.nonce,
            host_nonce=host_nonce,
            facts=facts,
            incarnation=incarnation,
        )
        if welcome.cluster != challenge.cluster or not proof.is_valid(expected, welcome.proof):
            raise Refused(
                f"it claims to be cluster {challenge.cluster}, but does not have this host's key: somebody poses as "
                "the controller, or --server and --key-file belong to different clusters"
            )
        if not 0 < welcome.report_interval_s < 86_400:
            raise Refused(f"it asks for a report each {welcome.report_interval_s} s, which cannot be")
        if not 0 <= welcome.outlived < LARGEST_INCARNATION:
            raise Refused(f"it says that incarnations up to {welcome.outlived} are over, which cannot be")
        return welcome

    async def _check(self, socket: ClientConnection, challenge: Challenge) -> None:
        if challenge.protocol != PROTOCOL:
            raise Refused(
                f"it speaks version {challenge.protocol} of the control link, this host version {PROTOCOL}: "
                "install the same release of Gapless on both"
            )
        own = self._membership.cluster
        if own is not None and own != challenge.cluster:
            declined = messages.Declined(name=self._credentials.facts.name, cluster=own)
            with contextlib.suppress(ConnectionClosed):
                await socket.send(messages.encode(declined), text=True)
            await socket.close(CloseCode.POLICY_VIOLATION, "another cluster")
            raise Refused(
                f"it is the controller of cluster {challenge.cluster}, and this host belongs to cluster {own}: correct "
                "--server, or, to let this host change clusters, drain it and give it a new --state-dir"
            )

    async def _join(self, welcome: Welcome) -> None:
        self._membership.outlives(welcome.outlived)
        if self._membership.cluster is None:
            await self._membership.joined(welcome.cluster)
        self._refused.reset()
        self._said = ("", 0.0)
        self._log.info("control link up", cluster=welcome.cluster, report_interval_s=welcome.report_interval_s)
        self._membership.welcomed(welcome.report_interval_s)

    # --- the session

    async def _stay(self, socket: ClientConnection, welcome: Welcome) -> NoReturn:
        """Follow, report and watch, until one of them cannot go on; raises why."""
        work = [
            asyncio.create_task(self._follow(socket)),
            asyncio.create_task(self._report(socket)),
            asyncio.create_task(self._notice_silence(socket, welcome.report_interval_s)),
        ]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        errors = [error for task in done if (error := task.exception()) is not None]
        # A refusal and the end of the connection come together; the refusal is the one that explains.
        raise next((error for error in errors if isinstance(error, GaplessError)), errors[0])

    async def _follow(self, socket: ClientConnection) -> None:
        plan: HostPlan | None = None
        while True:
            message = await self._receive(socket)
            match message:
                case Snapshot():
                    plan = HostPlan.of(message.revision, message.routers)
                case Change():
                    if plan is None:
                        raise Conflict("a change of the plan arrived before the plan")
                    step = Difference(routers=message.routers, removed=message.removed)
                    plan = plan.followed_by(message.revision, step)
                case Bury():
                    self._membership.bury(message)
                    continue
                case _:
                    raise self._refusal(message) or Unavailable(
                        "it began the handshake anew in the middle of a session"
                    )
            self._log.info(
                "plan received",
                revision=plan.revision,
                routers=len(plan.routers),
                changed=len(message.routers) if isinstance(message, Change) else None,
                removed=len(message.removed) if isinstance(message, Change) else None,
            )
            self._membership.planned(plan, heard=message.heard, panel=message.panel)

    async def _report(self, socket: ClientConnection) -> None:
        while True:
            await socket.send(messages.encode(await self._membership.next_report()), text=True)

    async def _notice_silence(self, socket: ClientConnection, report_interval_s: float) -> None:
        """A half-dead TCP connection takes what is written for minutes; only an answer proves the other side."""
        pause_s = min(max(report_interval_s / 2, 0.5), 5.0)
        patience_s = min(max(report_interval_s, 1.0), 10.0)
        while True:
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(patience_s):
                    await (await socket.ping())
            except TimeoutError:
                raise Unavailable(f"it did not answer for {patience_s:g} s") from None

    async def _receive(self, socket: ClientConnection) -> FromController:
        try:
            return messages.from_controller.decode(await socket.recv(decode=False))
        except messages.Malformed as error:
            raise Unavailable(f"it said something that cannot be read: {error}") from error

    def _refusal(self, message: FromController) -> GaplessError | None:
        """A refusal as the error that it is; None for any other message."""
        if not isinstance(message, messages.Refused):
            return None
        kind = Unavailable if message.code in TRANSIENT_REFUSALS else Refused
        return kind(f"{message.reason} ({message.code})")
