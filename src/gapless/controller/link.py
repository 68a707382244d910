"""The control link's server: who may connect, and a session for each host that may.

The rule: nothing is believed before the proof. Until then a peer gets one small message and a few seconds, and only so
many peers at once; whatever it sends costs it its own connection and nothing else. Refusals say the same to both sides.

Proof: `wire.proof`. Names and machines: `roster`. What happens after the handshake: `session`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypedDict

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from gapless.config import Address
from gapless.controller.hostbook import HostBook
from gapless.controller.refusals import Refusals
from gapless.controller.roster import Admission, Refusal, RefusalCode, Roster
from gapless.controller.session import SEND_TIMEOUT_S, Heard, PlanSource, Session
from gapless.controller.sessions import Sessions
from gapless.controller.store.hostrows import NameRecord
from gapless.errors import Conflict, StoreUnavailable, Unavailable
from gapless.model.host import HostFacts, HostName, Incarnation
from gapless.observe.log import get_logger
from gapless.observe.metrics import Metrics
from gapless.wire.messages import PROTOCOL, Challenge, Declined, Hello, Malformed, Refused, Welcome, encode, from_host
from gapless.wire.proof import fresh_nonce, host_proof, is_valid, server_proof

HANDSHAKE_TIMEOUT_S = 10.0
LARGEST_HELLO = 64 * 1024
LARGEST_REPORT = 16 * 1024 * 1024
"""Bytes; a full report of 10,000 routers, each with a reason, is 3 MB."""
MOST_STRANGERS = 128
"""Connections that may shake hands at the same time."""
CLOSE_TIMEOUT_S = 2.0


class Ears(Protocol):
    """Who is told what hosts do; times are the loop's, read when the message arrived.

    Coming and going must not wait: it is told in the moment in which the sessions change, so that the end of an old
    session is never heard after the beginning of a newer one.
    """

    def host_connected(self, facts: HostFacts, incarnation: Incarnation, session: int, received_s: float) -> None:
        """A host proved the key and has its name; its session is open, and waits to be woken for its first plan."""

    async def host_reported(self, host: HostName, heard: Heard, received_s: float) -> None:
        """A report arrived. May wait, and so slow this one host down."""

    def host_disconnected(self, host: HostName, received_s: float) -> None:
        """The host's last session is over."""


class Link:
    """Accepts control links. Listen with `async with link.listening(address) as port`."""

    def __init__(
        self,
        *,
        key: bytes,
        cluster: str,
        report_interval_s: float,
        dead_after_s: float,
        roster: Roster,
        sessions: Sessions,
        book: HostBook,
        ears: Ears,
        plans: PlanSource,
        metrics: Metrics,
        send_timeout_s: float = SEND_TIMEOUT_S,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        self._key = key
        self._cluster = cluster
        self._report_interval_s = report_interval_s
        self._dead_after_s = dead_after_s
        self._roster = roster
        self._sessions = sessions
        self._book = book
        self._ears = ears
        self._plans = plans
        self._metrics = metrics
        self._send_timeout_s = send_timeout_s
        self._handshake_timeout_s = handshake_timeout_s
        self._refusals = Refusals(metrics)
        self._strangers = 0
        self._newcomers = asyncio.Lock()
        self._log = get_logger()

    @asynccontextmanager
    async def listening(self, address: Address) -> AsyncIterator[int]:
        """Accept links until the block ends; yields the port. Raises Unavailable if the address cannot be used."""
        quiet = logging.getLogger("gapless.link.websockets")
        quiet.setLevel(logging.CRITICAL)  # a port scan is no error of ours; it would log a traceback for each
        try:
            server: Server = await serve(
                self._welcome_or_refuse,
                address.host,
                address.port,
                compression=None,
                max_size=LARGEST_HELLO,
                open_timeout=self._handshake_timeout_s,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,  # silence is judged by reports, and by nobody else
                logger=quiet,
            )
        except OSError as error:
            raise Unavailable(
                f"the control link cannot listen on {address}: {error.strerror or error}; choose another with --link"
            ) from error
        async with server:
            port: int = next(iter(server.sockets)).getsockname()[1]
            yield port

    async def _welcome_or_refuse(self, connection: ServerConnection) -> None:
        """The supervisor of one connection: however it ends, it ends alone."""
        try:
            guest = await self._handshake(connection)
            await self._serve(connection, guest, await self._admit(guest))
        except _TurnedAway as turned:
            await self._refuse(connection, turned)
        except ConnectionClosed:
            pass  # it left before it was anybody
        except (StoreUnavailable, Conflict) as error:
            self._log.warning("A new host has to come back, because it could not be stored", reason=str(error))
            await connection.close(CloseCode.TRY_AGAIN_LATER, "the controller's store is not available")
        except Exception:  # noqa: BLE001 - supervisor: a bug of ours must not take the other links with it
            self._log.exception("A control link ended with an unexpected error", peer=_peer(connection))
            await connection.close(CloseCode.INTERNAL_ERROR)

    async def _handshake(self, connection: ServerConnection) -> "_Guest":
        """Challenge the peer, and take its Hello only if the proof in it fits."""
        if self._strangers >= MOST_STRANGERS:
            raise _TurnedAway(RefusalCode.BUSY, "too many control links are being opened at once; come back later")
        self._strangers += 1
        try:
            async with asyncio.timeout(self._handshake_timeout_s):
                nonce = fresh_nonce()
                challenge = Challenge(protocol=PROTOCOL, cluster=self._cluster, nonce=nonce)
                await connection.send(encode(challenge), text=True)
                raw = await connection.recv(decode=False)
                received_s = asyncio.get_running_loop().time()
        except TimeoutError:
            raise _TurnedAway(RefusalCode.LATE, f"no hello came within {self._handshake_timeout_s:g} s") from None
        except ConnectionClosed as closed:
            if closed.sent is not None and closed.sent.code == CloseCode.MESSAGE_TOO_BIG:
                raise _TurnedAway(RefusalCode.MALFORMED, f"its hello has more than {LARGEST_HELLO} bytes") from None
            raise
        finally:
            self._strangers -= 1
        return _Guest(hello=self._proven(raw, nonce), nonce=nonce, received_s=received_s)

    def _proven(self, raw: bytes, nonce: str) -> Hello:
        try:
            hello = from_host.decode(raw)
        except Malformed as error:
            raise _TurnedAway(RefusalCode.MALFORMED, f"its hello cannot be read: {error}") from error
        if isinstance(hello, Declined):
            raise _TurnedAway(
                RefusalCode.CLUSTER,
                f"it says that it belongs to cluster {_printable(hello.cluster)}, and this is the controller of "
                f"cluster {self._cluster}: if this controller's database was lost, stop it and restore the database "
                "from a backup; else correct the host's --server",
                host=_printable(hello.name),
            )
        if not isinstance(hello, Hello):
            raise _TurnedAway(RefusalCode.MALFORMED, "its first message is no hello")
        if hello.protocol != PROTOCOL:
            raise _TurnedAway(
                RefusalCode.PROTOCOL,
                f"it speaks version {hello.protocol} of the control link, this controller version {PROTOCOL}: "
                "install the same release of Gapless on both",
            )
        if not is_valid(host_proof(self._key, **self._said(hello, nonce)), hello.proof):
            raise _TurnedAway(
                RefusalCode.KEY,
                f"it has not the key of cluster {self._cluster}: copy the controller's cluster.key to this host, or "
                "point it at the controller of its own cluster",
                host=_printable(hello.facts.name),
            )
        return hello

    def _said(self, hello: Hello, nonce: str) -> "_Said":
        return _Said(
            cluster=self._cluster,
            server_nonce=nonce,
            host_nonce=hello.nonce,
            facts=hello.facts,
            incarnation=hello.incarnation,
        )

    async def _admit(self, guest: "_Guest") -> NameRecord:
        """Give the machine its name, and have it stored: at once if it is new, or was confirmed to be off, else with
        the next round. That a machine is on again must be known to the next controller before anybody relies on it.
        """
        facts, incarnation = guest.hello.facts, guest.hello.incarnation
        admission = self._considered(guest)
        if self._roster.is_known(facts) and not self._roster.is_off(facts.name):
            record = self._roster.admit(facts, incarnation, guest.received_s)
            self._book.greeted(facts, record)
            return record
        async with self._newcomers:  # two newcomers with one name: the second finds the first
            self._considered(guest)
            await self._book.register(facts, self._roster.name_record(facts, incarnation))
            admission = self._considered(guest)  # the one that had the name may have come back meanwhile
            record = self._roster.admit(facts, incarnation, guest.received_s)
        if admission.replaces:
            self._log.warning(
                "Another machine takes over the name of a dead host",
                host=facts.name,
                instance=facts.instance,
                replaces=admission.replaces,
                incarnations_above=record.outlived,
            )
        return record

    def _considered(self, guest: "_Guest") -> Admission:
        hello = guest.hello
        verdict = self._roster.consider(hello.facts, hello.incarnation, guest.received_s)
        if isinstance(verdict, Refusal):
            raise _TurnedAway(verdict.code, verdict.reason, host=_printable(hello.facts.name))
        return verdict

    async def _serve(self, connection: ServerConnection, guest: "_Guest", record: NameRecord) -> None:
        """Open the host's session, and stay until it is over."""
        hello, host = guest.hello, guest.hello.facts.name
        proof = server_proof(self._key, **self._said(hello, guest.nonce))
        welcome = Welcome(
            cluster=self._cluster, proof=proof, report_interval_s=self._report_interval_s, outlived=record.outlived
        )
        await connection.send(encode(welcome), text=True)
        connection.protocol.max_message_size = LARGEST_REPORT
        session = Session(host, connection, self._plans, self._heard, self._dead_after_s, self._send_timeout_s)
        log = self._log.bind(host=host, incarnation=record.started)
        log.info("Host connected", peer=_peer(connection), instance=hello.facts.instance)
        try:
            self._sessions.add(session)
            self._ears.host_connected(hello.facts, record.started, session.number, guest.received_s)
            self._metrics.links.set(len(self._sessions))
            over = await session.run()
        finally:
            # However it ended: else the planner would send plans into nothing, and wait for what nobody will say.
            if self._sessions.discard(session):
                self._ears.host_disconnected(host, asyncio.get_running_loop().time())
            self._metrics.links.set(len(self._sessions))
        self._metrics.closed_links.labels(cause=over.cause).inc()
        log.info(f"Control link closed: {over.reason}", cause=over.cause)
        await connection.close(_CLOSE_CODES.get(over.cause, CloseCode.NORMAL_CLOSURE), over.reason[:_REASON_BYTES])

    async def _heard(self, host: HostName, heard: Heard, received_s: float) -> None:
        self._roster.heard(host, received_s)
        self._book.heard(host)
        if (record := self._roster.risen(host, max(heard.report.leased, heard.report.reborn))) is not None:
            self._book.risen(host, record)
        await self._ears.host_reported(host, heard, received_s)

    async def _refuse(self, connection: ServerConnection, turned: "_TurnedAway") -> None:
        now = asyncio.get_running_loop().time()
        self._refusals.note(turned.refusal, host=turned.host, peer=_peer(connection), now=now)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                refused = Refused(code=turned.refusal.code.value, reason=turned.refusal.reason)
                await connection.send(encode(refused), text=True)
                await connection.close(CloseCode.POLICY_VIOLATION, turned.refusal.code.value)
        except (ConnectionClosed, TimeoutError):
            pass  # it did not stay to hear it


_CLOSE_CODES = {"slow": CloseCode.TRY_AGAIN_LATER, "malformed": CloseCode.POLICY_VIOLATION}
_REASON_BYTES = 120
"""A close frame carries at most 123 bytes of reason (RFC 6455, 5.5); ours are ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guest:
    """A peer that proved the key."""

    hello: Hello
    nonce: str
    received_s: float


class _Said(TypedDict):
    """What a proof covers."""

    cluster: str
    server_nonce: str
    host_nonce: str
    facts: HostFacts
    incarnation: Incarnation


class _TurnedAway(Exception):
    def __init__(self, code: RefusalCode, reason: str, host: str = "") -> None:
        super().__init__(reason)
        self.refusal = Refusal(code=code, reason=reason)
        self.host = host


def _peer(connection: ServerConnection) -> str:
    """The peer's address without its port, which differs each time."""
    address = connection.remote_address
    return str(address[0]) if address else "unknown"


def _printable(text: str) -> str:
    """What a peer calls itself, fit for a log line."""
    return "".join(letter if letter.isprintable() and letter != " " else "?" for letter in text[:64])
