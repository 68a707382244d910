"""Datagrams of the lease on the wire: fixed size, versioned, authenticated, of one zone, each taken once.

    offset  size
         0     2   "GL"
         2     1   version of this layout
         3     1   kind (model.lease.DatagramKind)
         4    16   zone        hosts are named by ids: the first 16 bytes of a SHA-256 over cluster, zone and name,
        20    16   sender      so that a long name costs no more than a short one
        36    16   receiver
        52    16   subject     in a RELEASED, whose subject is the receiver: the router's UUID
        68   6x8   incarnations of sender and subject, asker, panel version, seq, number
       116   2x4   lease and silent_for, in microseconds (at most 71 minutes)
       124     4   lost         a set of bits
       128    16   HMAC-SHA-256 over all before, cut to 128 bits (RFC 2104), under a key derived from the cluster's

Replay: a sender numbers what it sends, and each life of a sentinel has an incarnation of its own, so (incarnation,
number) grows. A receiver takes what is higher than all it took from that sender, and drops the rest: what the network
reordered as well, which the protocol takes for a loss. What is replayed to a receiver that has restarted since is an
answer to another incarnation's question (`asker`), or a question that grants its asker nothing.

A host whose disk was restored from an old copy is at a lower incarnation than it was, and would be mute for ever. So a
renewal of a lower incarnation than was heard is not only dropped, but told (`Outrun`): an arbiter refuses it
(`core.edge.beat`). Whether the host sent it now, or somebody replays what it sent long ago, is not to be told apart,
and makes no difference: only a host that is at that incarnation heeds the answer.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

from gapless.model.host import HostName, Incarnation, machine_of
from gapless.model.lease import NOBODY, Datagram, DatagramKind, PanelVersion, Tenure
from gapless.model.router import RouterId

VERSION = 1
MAGIC = b"GL"
_LAYOUT = struct.Struct(">2sBB16s16s16s16sQQQQQQIII")
TAG_BYTES = 16
DATAGRAM_BYTES = _LAYOUT.size + TAG_BYTES
_KINDS = {kind.value: kind for kind in DatagramKind}


class Fault(StrEnum):
    """Why a datagram was dropped."""

    MALFORMED = "malformed"
    """Another size, another magic, another version, an unknown kind."""
    FORGED = "forged"
    """Its tag does not fit: another key, or changed on its way."""
    FOREIGN = "foreign"
    """Of another zone or cluster with the same key, or for another host; or from another host of this one's name."""
    UNKNOWN = "unknown"
    """It names a host that this one has not heard of."""
    REPLAYED = "replayed"
    """Not newer than what was taken from its sender before."""


class Dropped(Exception):
    """A datagram is not to be believed."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class Outrun(Dropped):
    """A renewal of a host at a lower incarnation than was heard of the same machine."""

    def __init__(self, sender: Tenure, highest: Incarnation) -> None:
        super().__init__(Fault.REPLAYED)
        self.sender = sender
        self.highest = highest
        """The highest that was heard."""


class _Tags:
    """HMAC-SHA-256 under one key, cut. What depends on the key alone is computed once (RFC 2104, section 4)."""

    def __init__(self, key: bytes) -> None:
        self._begun = hmac.new(key, digestmod="sha256")

    def of(self, body: bytes) -> bytes:
        """The tag of these bytes."""
        tag = self._begun.copy()
        tag.update(body)
        return tag.digest()[:TAG_BYTES]


class Envelope:
    """Seals and opens the datagrams of one host, in one life of its sentinel."""

    def __init__(self, key: bytes, cluster: str, zone: str, me: HostName) -> None:
        self._tag = _Tags(hmac.digest(key, b"gapless lease datagrams", "sha256"))
        self._place = f"{cluster}\0{zone}\0"
        self._zone = self._id("")
        self._me = me
        self._ids: dict[HostName, bytes] = {}
        self._names: dict[bytes, HostName] = {}
        self._number = 0
        self._last: dict[HostName, tuple[Incarnation, int]] = {}
        self.know([me])

    def _id(self, name: str) -> bytes:
        return hashlib.sha256((self._place + name).encode()).digest()[:16]

    def know(self, hosts: Iterable[HostName]) -> None:
        """Hosts that may send, receive or be spoken of; those that were known stay known."""
        for host in hosts:
            if host not in self._ids:
                self._ids[host] = self._id(host)
                self._names[self._ids[host]] = host

    def seal(self, to: HostName, datagram: Datagram) -> bytes:
        """`DATAGRAM_BYTES` bytes. Raises KeyError for a host that is not known, ValueError for an id that is none."""
        self._number += 1
        body = _LAYOUT.pack(
            MAGIC,
            VERSION,
            datagram.kind,
            self._zone,
            self._ids[datagram.sender.host],
            self._ids[to],
            self._ids[datagram.subject.host] if datagram.router is None else UUID(datagram.router).bytes,
            datagram.sender.incarnation,
            datagram.subject.incarnation,
            datagram.asker,
            datagram.panel,
            datagram.seq,
            self._number,
            _microseconds(datagram.lease_s),
            _microseconds(datagram.silent_for_s),
            datagram.lost,
        )
        return body + self._tag.of(body)

    def open(self, raw: bytes) -> Datagram:
        """The datagram. Raises Dropped, or Outrun."""
        if len(raw) != DATAGRAM_BYTES or raw[:2] != MAGIC or raw[2] != VERSION:
            raise Dropped(Fault.MALFORMED)
        body, tag = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
        if not hmac.compare_digest(self._tag.of(body), tag):
            raise Dropped(Fault.FORGED)
        _, _, kind, zone, sender_id, receiver_id, subject_id, *numbers = _LAYOUT.unpack(body)
        if zone != self._zone or receiver_id != self._ids[self._me] or sender_id == receiver_id:
            raise Dropped(Fault.FOREIGN)
        router = RouterId(str(UUID(bytes=subject_id))) if kind == DatagramKind.RELEASED else None
        sender = self._names.get(sender_id)
        subject = self._names.get(subject_id) if router is None else self._me
        if kind not in _KINDS:
            raise Dropped(Fault.MALFORMED)
        if sender is None or subject is None:
            raise Dropped(Fault.UNKNOWN)
        of_sender, of_subject, asker, panel, seq, number, lease_us, silent_us, lost = numbers
        incarnation = Incarnation(of_sender)
        highest, last = self._last.get(sender, (NOBODY, 0))
        if kind == DatagramKind.RENEW and incarnation < highest and machine_of(incarnation) == machine_of(highest):
            raise Outrun(Tenure(sender, incarnation), highest)
        if (incarnation, number) <= (highest, last):
            raise Dropped(Fault.REPLAYED)
        self._last[sender] = (incarnation, number)
        return Datagram(
            kind=_KINDS[kind],
            sender=Tenure(sender, incarnation),
            panel=PanelVersion(panel),
            subject=Tenure(subject, Incarnation(of_subject)),
            seq=seq,
            asker=Incarnation(asker),
            lease_s=lease_us / 1e6,
            silent_for_s=silent_us / 1e6,
            lost=lost,
            router=router,
        )


def _microseconds(seconds: float) -> int:
    return min(round(seconds * 1e6), 2**32 - 1)
