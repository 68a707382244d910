"""What the two sides of a connection say, kind by kind: who opens it, who speaks when, what counts as heard. Pure.

    tick(now) ──► words of either side          hear(side, said, now) ──► words that answer them

One class for each kind; whoever carries the words (`talker`) knows nothing of kinds. Of most kinds one side speaks and
the other one listens, and nothing else is said: so in a download nothing comes from inside but what TCP itself
acknowledges, which is what a router without its connection's state cannot make sense of. As little does it of UDP that
comes from outside between two datagrams of the VM.

**The stall** is the longest time in which the listener heard nothing; of who asks, in which nothing was answered. How
long may one stall whose state was copied? Its speaker was quiet for a pause before, maybe; then for the gap nothing
passes; and then:

- TCP waits until it sends again what was lost. That wait is one retransmission's, the first that does not fall into the
  gap: each is twice as long as the one before and the first is `RTO_MS` (RFC 6298, with Linux's least), so it is no
  longer than all before it together, which lay in the gap, and `RTO_MS` more.
- UDP sends nothing again: the next datagram comes a pause later at most.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import ClassVar

from gapless.lab.measuring.connections import Connection, Course, Kind

SELDOM_TIMES = 10
"""Who speaks seldom does it so many times less often,"""
SELDOM_MOST_MS = 10_000.0
"""but not more seldom than this: it has to be heard once more at the end."""
RTO_MS = 200.0
"""TCP_RTO_MIN (linux/include/net/tcp.h): the first retransmission's wait where answers come sooner, as in the lab."""
LINE = b"x" * 63 + b"\n"
_NUMBER_BYTES = 8


class Way(Enum):
    """Through a router."""

    SNAT = auto()
    """The VM opens it."""
    FLOATING = auto()
    """The outside opens it, to the VM's floating IP."""


class TransportProtocol(Enum):
    """What carries the words."""

    TCP = "tcp"
    UDP = "udp"


class Side(Enum):
    """Of a connection."""

    OPENER = auto()
    ACCEPTOR = auto()


Words = Iterable[tuple[Side, bytes]]
"""What is said by whom."""


class Conversation(ABC):
    """One of them. Times are nanoseconds of one clock."""

    way: ClassVar[Way] = Way.SNAT
    protocol: ClassVar[TransportProtocol] = TransportProtocol.TCP
    speaks_seldom: ClassVar[bool] = False

    def __init__(self, connection: Connection, interval_ms: float) -> None:
        self.connection = connection
        self.interval_ms = interval_ms
        self.broken = ""
        """Why it is over."""
        self.heard = 0
        self.is_asked = False
        """For its end."""
        self.is_heard = False
        """Since then."""
        self._last_ns = 0
        self._stall_ns = 0

    @classmethod
    def pause_ms(cls, interval_ms: float) -> float:
        """Between two things that it says."""
        return seldom_ms(interval_ms) if cls.speaks_seldom else interval_ms

    @classmethod
    @abstractmethod
    def stall_ms_most(cls, interval_ms: float, gap_ms: float) -> float:
        """How long one that goes on may hear nothing after a gap."""

    @property
    def pause_ns(self) -> int:
        """Until it ticks again. The first time comes soon, whatever it is."""
        return int((self.pause_ms(self.interval_ms) if self.heard else self.interval_ms) * 1e6)

    @property
    def is_awaited(self) -> bool:
        """Whether the end waits for it."""
        return not self.broken and not self.is_heard

    @abstractmethod
    def tick(self, now_ns: int) -> Words:
        """It is its turn to speak."""

    @abstractmethod
    def hear(self, side: Side, said: bytes, now_ns: int) -> Words:
        """This side has heard this."""

    def begin(self) -> None:
        """Forget what was so far: the measurement begins now."""
        self._stall_ns = 0

    def ask_end(self) -> None:
        """From now on it is to be heard once more."""
        self.is_asked = True

    def course(self) -> Course:
        """What became of it."""
        return Course(
            connection=self.connection,
            broken=self.broken,
            is_heard=self.is_heard,
            stall_ms=round(self._stall_ns / 1e6, 1),
        )

    def _note(self, now_ns: int, *, is_new: bool = True) -> None:
        """The listener hears. `is_new`: something that was said after the end was asked for, where that can be told."""
        if self._last_ns:
            self._stall_ns = max(self._stall_ns, now_ns - self._last_ns)
        self._last_ns = now_ns
        self.heard += 1
        self.is_heard = self.is_heard or (self.is_asked and is_new)


def seldom_ms(interval_ms: float) -> float:
    """The pause of who speaks seldom."""
    return max(interval_ms, min(SELDOM_TIMES * interval_ms, SELDOM_MOST_MS))


class _Tcp(Conversation):
    """What is lost is sent again."""

    @classmethod
    def stall_ms_most(cls, interval_ms: float, gap_ms: float) -> float:
        """Pause, gap, retransmission."""
        return cls.pause_ms(interval_ms) + gap_ms + (gap_ms + RTO_MS)


class _Lines(_Tcp):
    """One side speaks, the other one listens."""

    speaker: ClassVar[Side]

    def tick(self, now_ns: int) -> Words:
        """A line."""
        del now_ns
        return ((self.speaker, LINE),)

    def hear(self, side: Side, said: bytes, now_ns: int) -> Words:
        """The listener says nothing."""
        if side is not self.speaker:
            self._note(now_ns)
        return ()


class Download(_Lines):
    """The outside speaks."""

    speaker = Side.ACCEPTOR


class Upload(_Lines):
    """The VM speaks."""

    speaker = Side.OPENER


class Idle(Download):
    """A download that speaks seldom."""

    speaks_seldom = True


class FloatingDownload(_Lines):
    """The outside, which opened it, speaks."""

    way = Way.FLOATING
    speaker = Side.OPENER


class FloatingUpload(_Lines):
    """The VM, which accepted it, speaks."""

    way = Way.FLOATING
    speaker = Side.ACCEPTOR


class Request(_Tcp):
    """The VM asks when it was answered; it is the one that listens."""

    def __init__(self, connection: Connection, interval_ms: float) -> None:
        super().__init__(connection, interval_ms)
        self._unanswered = 0
        """Bytes of the answer that are still to come."""
        self._unasked = 0
        """Bytes of a question that are there, and are no whole line yet."""

    def tick(self, now_ns: int) -> Words:
        """The next question, unless one is on its way."""
        del now_ns
        if self._unanswered:
            return ()
        self._unanswered = len(LINE)
        return ((Side.OPENER, LINE),)

    def hear(self, side: Side, said: bytes, now_ns: int) -> Words:
        """A line for each line."""
        if side is Side.ACCEPTOR:
            lines, self._unasked = divmod(self._unasked + len(said), len(LINE))
            return ((Side.ACCEPTOR, LINE),) * lines
        self._unanswered = max(0, self._unanswered - len(said))
        if not self._unanswered:
            self._note(now_ns)
        return ()


class _Udp(Conversation):
    """Datagrams with numbers; what is lost stays lost. One of which nothing comes any more is broken."""

    protocol = TransportProtocol.UDP

    def __init__(self, connection: Connection, interval_ms: float) -> None:
        super().__init__(connection, interval_ms)
        self._next = self._first = 0
        self._end: int | None = None
        """The first one that was said after the end was asked for."""
        self._unheard: set[int] = set()

    @classmethod
    def stall_ms_most(cls, interval_ms: float, gap_ms: float) -> float:
        """Pause, gap, pause."""
        return cls.pause_ms(interval_ms) + gap_ms + cls.pause_ms(interval_ms)

    def begin(self) -> None:
        """What is on its way now counts nothing."""
        super().begin()
        self._first = self._next
        self._unheard.clear()

    def ask_end(self) -> None:
        """What is said from now on shows that all before it has arrived, or is lost."""
        super().ask_end()
        self._end = self._next

    def course(self) -> Course:
        """What became of it, and of its datagrams."""
        found = super().course()
        end = self._next if self._end is None else self._end
        return Course(
            connection=found.connection,
            broken=found.broken or ("" if found.is_heard else "nothing was heard any more"),
            is_heard=found.is_heard,
            stall_ms=found.stall_ms,
            datagrams=end - self._first,
            datagrams_lost=sum(number < end for number in self._unheard),
        )

    def _numbered(self) -> bytes:
        number, self._next = self._next, self._next + 1
        self._unheard.add(number)
        return number.to_bytes(_NUMBER_BYTES, "big").ljust(len(LINE))

    def _arrived(self, said: bytes, now_ns: int) -> None:
        number = int.from_bytes(said[:_NUMBER_BYTES], "big")
        self._unheard.discard(number)
        self._note(now_ns, is_new=self._end is not None and number >= self._end)


class Udp(_Udp):
    """The VM speaks, and listens to what the outside sends back."""

    def tick(self, now_ns: int) -> Words:
        """The next number."""
        del now_ns
        return ((Side.OPENER, self._numbered()),)

    def hear(self, side: Side, said: bytes, now_ns: int) -> Words:
        """The outside says what it heard."""
        if side is Side.ACCEPTOR:
            return ((Side.ACCEPTOR, said),)
        self._arrived(said, now_ns)
        return ()


class UdpDownload(_Udp):
    """The outside speaks, from when it was asked; the VM asks again, seldom."""

    def __init__(self, connection: Connection, interval_ms: float) -> None:
        super().__init__(connection, interval_ms)
        self._asks_at_ns = 0
        self._was_asked = False

    def tick(self, now_ns: int) -> Words:
        """The next number; and a word from inside, when it is time."""
        words = [(Side.ACCEPTOR, self._numbered())] if self._was_asked else []
        if now_ns >= self._asks_at_ns:
            pause_ms = seldom_ms(self.interval_ms) if self.heard else self.interval_ms
            self._asks_at_ns = now_ns + int(pause_ms * 1e6)
            words.append((Side.OPENER, LINE))
        return words

    def hear(self, side: Side, said: bytes, now_ns: int) -> Words:
        """The VM says nothing to what it hears."""
        if side is Side.ACCEPTOR:
            self._was_asked = True
        else:
            self._arrived(said, now_ns)
        return ()


CONVERSATIONS: Mapping[Kind, type[Conversation]] = {
    Kind.DOWNLOAD: Download,
    Kind.UPLOAD: Upload,
    Kind.IDLE: Idle,
    Kind.REQUEST: Request,
    Kind.UDP: Udp,
    Kind.UDP_DOWNLOAD: UdpDownload,
    Kind.FLOATING_DOWNLOAD: FloatingDownload,
    Kind.FLOATING_UPLOAD: FloatingUpload,
}
