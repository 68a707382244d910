"""What ICMP says of a packet that was translated: who sent it hears it, in the sender's own words for both ends."""

import contextlib
import errno
import socket
import struct

import pytest
from kernel_fixtures import FLOATING_IP, OUTSIDE, Wires, ip, router

from gapless.agent.reconcile import Reconciler

pytestmark = pytest.mark.isolated

IP_RECVERR = 11  # linux/in.h
_ERROR = struct.Struct("=IBBBxII2x2x4s")
"""A `sock_extended_err`, and the address of who made the error."""
UNREACHABLE, HOST, PORT = 3, 1, 3
BEYOND = "198.51.100.7"


def error_of(sent: bytes, asking: socket.socket, where: tuple[str, int]) -> tuple[int, int, int, str]:
    """The error that a connected socket gets for what it sends: number, ICMP type and code, who made it.

    The kernel gives it to the socket only if it quotes what that has sent: from its address and port, to `where`.
    """
    asking.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    asking.connect(where)
    asking.send(sent)
    with contextlib.suppress(OSError):
        asking.recv(100)
    quoted, notes, _, to = asking.recvmsg(100, 100, socket.MSG_ERRQUEUE)
    assert (quoted, to) == (sent, where)
    ((_, _, note),) = notes
    number, _, kind, code, _, _, offender = _ERROR.unpack_from(note)
    return number, kind, code, socket.inet_ntoa(offender)


def test_a_machine_behind_a_floating_ip_says_under_that_address_that_nobody_listens(
    wires: Wires, host: Reconciler
) -> None:
    host.reconcile(router((FLOATING_IP, "10.0.0.5")))
    found = error_of(b"anybody?", wires.udp("outside"), (FLOATING_IP, 9))
    assert found == (errno.ECONNREFUSED, UNREACHABLE, PORT, FLOATING_IP)


def test_what_a_router_outside_says_reaches_the_machine_whose_packet_it_was(wires: Wires, host: Reconciler) -> None:
    """The next hop knows no way to the target, and says so."""
    host.reconcile(router())
    ip(f"route add unreachable {BEYOND}/32", inside="outside")
    wires.at("outside", lambda: _write("/proc/sys/net/ipv4/ip_forward", "1"))
    found = error_of(b"anybody?", wires.udp("vm1", port=40001), (BEYOND, 9))
    assert found == (errno.EHOSTUNREACH, UNREACHABLE, HOST, OUTSIDE)


def test_what_the_far_end_says_reaches_the_machine_whose_packet_it_was(wires: Wires, host: Reconciler) -> None:
    host.reconcile(router())
    found = error_of(b"anybody?", wires.udp("vm2", port=40001), (OUTSIDE, 9))
    assert found == (errno.ECONNREFUSED, UNREACHABLE, PORT, OUTSIDE)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 -- a kernel interface
        file.write(text)
