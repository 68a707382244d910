"""Looks at this host's uplinks: the carrier at each beat, the gateways by ARP each half second, also while another
uplink is cut (`core.edge.gateways`). Nothing here waits.

The carrier is read by ioctl, which takes no RTNL; link notifications would tell of every tap of a thousand routers.
Before an interface is asked about by name, it is made sure that it exists (`interfaces`). One that is set down, and was
never up as far as this life of the beat knows, is not judged, nor is a gateway that never answered: no router uses it
yet. The agent sets it up for the first one, which would go to no host that says that it has lost its way out. Bridges
are the operator's to set up.
A gateway is asked with an ARP probe, whose sender address is 0.0.0.0 (RFC 5227), so that nobody learns anything from
it; once it has answered it is asked by unicast (RFC 1122, 2.3.2.1), so that no other router has to look at it. Answers
are taken where they come out of the bridge that the uplink is a port of: a socket on the uplink itself would look at
every frame of every router. They are read while one is waited for.
"""

import socket
import struct
from collections.abc import Collection, Iterable
from contextlib import suppress
from fcntl import ioctl
from ipaddress import IPv4Address

from gapless.core.edge.gateways import Gateway, Gateways
from gapless.errors import Unavailable
from gapless.kernel import arp, bpf
from gapless.sentinel.beat.interfaces import Watched
from gapless.sentinel.beat.ways import Way, Ways

_SIOCGIFFLAGS, _SIOCGIFHWADDR = 0x8913, 0x8927  # linux/sockios.h
_IFF_UP, _IFF_RUNNING = 0x1, 0x40  # linux/if.h
_ANSWERS_AT_ONCE = 64
_ROOM_BYTES = 64
"""For one answer, padded as short frames are."""
_BROADCAST = b"\xff" * 6

_ONLY_ANSWERS = bpf.packed(
    # ARP, operation 2; everything else stays in the kernel.
    (bpf.LOAD_HALF, 0, 0, 12),
    (bpf.JUMP_EQUAL, 0, 3, arp.ETHERTYPE),
    (bpf.LOAD_HALF, 0, 0, 20),
    (bpf.JUMP_EQUAL, 0, 1, arp.REPLY),
    bpf.first(_ROOM_BYTES),
    bpf.NOTHING,
)


class Uplinks:
    """This host's uplinks. `interfaces` may be bridges of the operator's."""

    def __init__(self, interfaces: Iterable[str]) -> None:
        """Raises Unavailable where ARP cannot be spoken, or the kernel does not tell which interfaces there are."""
        self._interfaces = tuple(interfaces)
        self._gateways = Gateways()
        self._macs: dict[IPv4Address, bytes] = {}
        self._flags: dict[str, int | None] = {}
        """Of each interface, as it was found last."""
        self._cut: frozenset[str] = frozenset()
        self._idle: frozenset[str] = frozenset()
        """Set down, and never up so far."""
        self._is_news = True
        """Something happened since `_ways` was made."""
        self._ways = Ways()
        self._existing = Watched(self._interfaces)
        self._unraised = set(self._interfaces) - self._existing.bridges
        """What the agent sets up, and was not up so far."""
        try:
            self._socket = _open()
        except OSError as error:
            self._existing.close()
            raise Unavailable(f"gateways cannot be asked by ARP: {error.strerror}") from error

    def watch(self, gateways: Iterable[Gateway]) -> None:
        """The gateways that routers of this host use: these, and no others."""
        wanted = [each for each in gateways if each[0] in self._interfaces]
        self._gateways.watch(wanted)
        addresses = {gateway for _, gateway in wanted}
        self._macs = {gateway: mac for gateway, mac in self._macs.items() if gateway in addresses}
        self._is_news = True

    def look(self, now: float) -> Ways:
        """To be called at each beat. The same object as the last time where nothing may have changed."""
        flags = {name: self._flags_of(name) for name in self._interfaces}
        if flags != self._flags:
            self._flags = flags
            self._judge_carriers()
        self._talk(now)
        if self._is_news:
            self._is_news = False
            self._ways = self._judge()
        return self._ways

    def _judge_carriers(self) -> None:
        flags = self._flags
        self._unraised = {name for name in self._unraised if not _has(flags[name], _IFF_UP)}
        idle = frozenset(name for name in self._unraised if flags[name] is not None)
        cut = frozenset(name for name in self._interfaces if not _has(flags[name], _IFF_UP | _IFF_RUNNING)) - idle
        if (cut, idle) != (self._cut, self._idle):
            self._is_news = True
            self._cut, self._idle = cut, idle
            self._gateways.cut(cut)

    def _talk(self, now: float) -> None:
        is_due = self._gateways.is_due(now)
        if is_due or self._gateways.are_awaited:
            self._take_answers()
        if is_due:
            self._is_news = True
            for (name, gateway), is_doubtful in self._gateways.ask(now):
                if is_doubtful:
                    self._macs.pop(gateway, None)
                self._ask(name, gateway)

    def _judge(self) -> Ways:
        watched: frozenset[Way] = frozenset((name, None) for name in self._interfaces) | self._gateways.watched
        silent = self._gateways.silent
        lost = frozenset(each for each in watched if each in silent or each[0] in self._cut)
        unsure: frozenset[Way] = frozenset((name, None) for name in self._idle) | self._gateways.unknown
        return Ways(trouble=self._words(silent), watched=watched, lost=lost, unsure=unsure)

    def _words(self, silent: Collection[Gateway]) -> str:
        """Of a gateway behind an uplink that is cut nothing needs to be said."""
        cut = [name for name in self._interfaces if name in self._cut]
        answerless = [str(gateway) for name, gateway in silent if name not in self._cut]
        said = [f"no carrier on {', '.join(cut)}"] if cut else []
        said += [f"no answer from gateway {', '.join(answerless)}"] if answerless else []
        return "; ".join(said)

    def close(self) -> None:
        """Let go."""
        self._existing.close()
        self._socket.close()

    def _flags_of(self, name: str) -> int | None:
        """An interface's flags; None: there is none of that name."""
        if not self._existing.is_there(self._socket.fileno(), name):
            return None
        try:
            (flags,) = struct.unpack_from("=H", self._about(name, _SIOCGIFFLAGS), 16)
        except OSError:
            return None
        return int(flags)

    def _about(self, name: str, what: int) -> bytes:
        return ioctl(self._socket.fileno(), what, struct.pack("16s24x", name.encode()))

    def _ask(self, name: str, gateway: IPv4Address) -> None:
        with suppress(OSError):  # The interface is down, or gone: a question that is not answered.
            own = self._about(name, _SIOCGIFHWADDR)[18:24]
            question = arp.probe(self._macs.get(gateway, _BROADCAST), own, gateway)
            self._socket.sendto(question, (name, arp.ETHERTYPE))

    def _take_answers(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(_ANSWERS_AT_ONCE):
                frame = self._socket.recv(_ROOM_BYTES)
                if len(frame) < arp.FRAME_BYTES:
                    continue  # Anybody on a network of this host may send half a frame.
                mac, answering = arp.answer(frame)
                if self._gateways.answered(answering):
                    self._macs[answering] = mac
                    self._is_news = True


def _has(flags: int | None, wanted: int) -> bool:
    return flags is not None and flags & wanted == wanted


def _open() -> socket.socket:
    """A socket for ARP: it hears replies to this host on every interface, and sends through the one that is named."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(arp.ETHERTYPE))
    try:
        opened.setblocking(False)
        bpf.attach(opened, _ONLY_ANSWERS)
    except OSError:
        opened.close()
        raise
    return opened
