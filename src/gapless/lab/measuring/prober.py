"""The process that sends the probes and notes the replies: one loop, one epoll, a socket a probe in its namespace.

A process of its own, so that nothing else the lab does delays it. Ping sockets (icmp(7)): the kernel makes the
checksums and hands each socket only the replies to its own requests. Requests of different probes are spread evenly
over the interval. A request that cannot leave in time leaves late, and the lateness is recorded; one that is late by a
whole interval is skipped, not sent in a burst, so the rate stays what was promised.

Standard input: one line of `Orders`, then the words `begin` (forget what was recorded; the measurement begins now) and
`end FILE` (stop sending, wait for what is under way, write the recording, end). Standard output: a `Pulse` a line.
"""

import gc
import os
import select
import socket
import struct
import sys
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gapless.lab.machines import linux, netns
from gapless.lab.measuring.probes import Flow, Header, Orders, Pulse, write

_HEADER = struct.Struct("!BBHHH")
_PAYLOAD = struct.Struct("!QQ")
"""Measurement and number: a reply from before `begin` is recognised and counted to nobody."""
_TIMESPEC = struct.Struct("@qq")
_ECHO_REQUEST = 8
_ECHO_REPLY = 0
_SO_TIMESTAMPNS = 35
LAST_REPLIES_S = 1.0
"""How long to wait, after the last request, for replies under way."""
_BATCH = 64
"""Replies read from one socket, or requests sent, before the loop looks around again: what it cannot keep up with must
not keep it from saying so.
"""


@dataclass(slots=True)
class _Probe:
    flow: Flow
    socket: socket.socket
    sent: "array[int]" = field(default_factory=lambda: array("q"))
    replied: "array[int]" = field(default_factory=lambda: array("q"))
    last_reply_ns: int = 0


def _open(flow: Flow) -> socket.socket:
    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.setblocking(False)
        sock.bind((flow.source, 0))
        return sock

    return linux.in_netns(netns.path_of(flow.netns), make)


class Prober:
    """Sends, receives, records. `step` does one round of what is due and returns."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.probes = [_Probe(flow, _open(flow)) for flow in orders.flows]
        self._poll = select.epoll()
        self._by_descriptor = {probe.socket.fileno(): probe for probe in self.probes}
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.EPOLLIN)
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._spacing_ns = max(1, int(orders.interval_ms * 1e6 / max(1, len(self.probes))))
        self._measurement = 0
        self._restart()

    def _restart(self) -> None:
        self._measurement += 1
        self.begin_ns = time.monotonic_ns()
        self._turn = 0
        self._sent = self._answered = 0
        self._lateness_ns = 0
        for probe in self.probes:
            probe.sent, probe.replied = array("q"), array("q")

    def begin(self) -> None:
        """Forget what was recorded; the measurement begins now."""
        self._restart()

    def due_ns(self) -> int:
        """When the next request should leave."""
        return self.begin_ns + self._turn * self._spacing_ns

    def step(self, sending: bool = True) -> bool:
        """Wait until something is due or has arrived, and see to it; True when standard input has something to say."""
        wait_s = max(0, self.due_ns() - time.monotonic_ns()) / 1e9 if sending else 0.01
        spoken_to = False
        for descriptor, _ in self._poll.poll(wait_s):
            probe = self._by_descriptor.get(descriptor)
            if probe is None:
                spoken_to = True
            else:
                self._receive(probe)
        if sending:
            self._send_due()
        return spoken_to

    def _send_due(self) -> None:
        now = time.monotonic_ns()
        interval_ns = self._spacing_ns * len(self.probes)
        for _ in range(_BATCH):
            if (due := self.due_ns()) > now:
                return
            probe = self.probes[self._turn % len(self.probes)]
            self._turn += 1
            self._lateness_ns = max(self._lateness_ns, now - due)
            if now - due >= interval_ns:
                probe.sent.append(0)
                probe.replied.append(0)
            else:
                self._send(probe)
                now = time.monotonic_ns()

    def _send(self, probe: _Probe) -> None:
        number = len(probe.sent)
        packet = _HEADER.pack(_ECHO_REQUEST, 0, 0, 0, number & 0xFFFF) + _PAYLOAD.pack(self._measurement, number)
        probe.sent.append(time.monotonic_ns())
        probe.replied.append(0)
        self._sent += 1
        try:
            probe.socket.sendto(packet, (probe.flow.target, 0))
        except OSError:
            # What went wrong with an earlier request (no neighbour, no route), or now: either way this one stays
            # without a reply, which is what is measured.
            return

    def _receive(self, probe: _Probe) -> None:
        to_monotonic = time.monotonic_ns() - time.time_ns()
        for _ in range(_BATCH):
            try:
                packet, notes, _, _ = probe.socket.recvmsg(64, 64)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error for an earlier request; that request stays without a reply
            if len(packet) < _HEADER.size + _PAYLOAD.size or packet[0] != _ECHO_REPLY:
                continue
            self._note(probe, packet, _arrival_ns(notes, to_monotonic))

    def _note(self, probe: _Probe, packet: bytes, at_ns: int) -> None:
        probe.last_reply_ns = max(probe.last_reply_ns, at_ns)
        measurement, number = _PAYLOAD.unpack_from(packet, _HEADER.size)
        if measurement == self._measurement and number < len(probe.sent) and not probe.replied[number]:
            probe.replied[number] = at_ns
            self._answered += 1

    def pulse(self) -> Pulse:
        """How things stand."""
        return Pulse(
            at_ns=time.monotonic_ns(),
            last_reply_ns=tuple(probe.last_reply_ns for probe in self.probes),
            sent=self._sent,
            answered=self._answered,
            lateness_ms=self._lateness_ns / 1e6,
        )

    def end(self, path: Path) -> None:
        """Stop sending, take in what is under way, write the recording."""
        end_ns = time.monotonic_ns()
        while time.monotonic_ns() < end_ns + LAST_REPLIES_S * 1e9 and self._answered < self._sent:
            self.step(sending=False)
        header = Header(
            flows=self.orders.flows,
            slots=tuple(len(probe.sent) for probe in self.probes),
            interval_ms=self.orders.interval_ms,
            begin_ns=self.begin_ns,
            end_ns=end_ns,
            lateness_ms=self._lateness_ns / 1e6,
        )
        with path.open("wb") as file:
            write(file, header, (series for probe in self.probes for series in (probe.sent, probe.replied)))


def _arrival_ns(notes: list[tuple[int, int, bytes]], to_monotonic: int) -> int:
    """The kernel's receive timestamp, on the monotonic clock."""
    for level, kind, data in notes:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return int(seconds * 1_000_000_000 + nanoseconds + to_monotonic)
    return time.monotonic_ns()


def _say(pulse: Pulse) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(pulse) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Run until `end` or until standard input closes."""
    linux.die_with_parent()
    orders = msgspec.json.decode(_line(), type=Orders)
    prober = Prober(orders)
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a collection would delay what is measured
    next_pulse = time.monotonic()
    while True:
        if prober.step():
            words = _line().decode().split()
            if words == ["begin"]:
                prober.begin()
            elif words:
                prober.end(Path(words[1]))
                return 0
            else:
                return 0
        if time.monotonic() >= next_pulse:
            _say(prober.pulse())
            next_pulse += orders.report_interval_s


def _line() -> bytes:
    """A line of standard input, byte by byte: nothing may be read ahead, or epoll would not tell of it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            return line
        line += byte
    return line


if __name__ == "__main__":
    raise SystemExit(main())
