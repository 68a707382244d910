"""Who answers for an address, found out on the wire: a broadcast ARP request, and the cables from which answers come.

What is built in a host's namespaces does not say who is active: a standby has the same addresses, and something keeps
its frames off the wire. An answer that arrives at the switch does. The request is a probe as of RFC 5227, without a
sender's address, so that nobody learns anything from it. A host hands it to the router's tap, wherever its bridge saw
the router's MAC address last, so a router that is active where it should not be answers as well.
"""

import select
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address

from gapless.lab.machines import enter
from gapless.lab.measuring import packets

FIRST_WITHIN_S = 1.0
"""How long an answer may take before nobody answers."""
OTHERS_WITHIN_S = 0.2
"""How much later than the last first answer a second host's may come."""
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_AT = 14
_ARP_TYPE = struct.pack("!H", packets.ETH_P_ARP)
_REQUEST, _REPLY = 1, 2
_ARP_ONLY = (
    (packets.LD_H, None, None, 12),
    (packets.JEQ, None, 3, packets.ETH_P_ARP),
    (packets.RET, None, None, 64),
    (packets.RET, None, None, 0),
)


def probe(own: bytes, wanted: IPv4Address) -> bytes:
    """The request as a frame; `own`: the sender's MAC address."""
    ethernet = b"\xff" * 6 + own + _ARP_TYPE
    return ethernet + _ARP.pack(1, 0x0800, 6, 4, _REQUEST, own, bytes(4), bytes(6), wanted.packed)


def who_answers(
    addresses: Iterable[IPv4Address], through: str, host_of_port: Mapping[str, str]
) -> dict[IPv4Address, frozenset[str]]:
    """Address -> the hosts that answer for it, each heard at its own cable's switch end. Blocks, for a second and more
    when nobody answers for one. `through`: the switch that is asked, in the calling thread's namespace.
    """
    enter.require_inside()
    heard: dict[IPv4Address, set[str]] = {address: set() for address in addresses}
    with (
        packets.hearing(_ARP_ONLY) as ear,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as mouth,
    ):
        mouth.bind((through, 0))
        own: bytes = mouth.getsockname()[-1]
        for address in heard:
            mouth.send(probe(own, address))
            _hear(ear, heard, host_of_port)
        deadline = time.monotonic() + FIRST_WITHIN_S
        while not all(heard.values()) and time.monotonic() < deadline:
            select.select([ear], [], [], 0.01)
            _hear(ear, heard, host_of_port)
        deadline = time.monotonic() + OTHERS_WITHIN_S
        while (left_s := deadline - time.monotonic()) > 0:
            select.select([ear], [], [], left_s)
            _hear(ear, heard, host_of_port)
    return {address: frozenset(hosts) for address, hosts in heard.items()}


def _hear(ear: socket.socket, heard: Mapping[IPv4Address, set[str]], host_of_port: Mapping[str, str]) -> None:
    while True:
        try:
            frame, (port, *_) = ear.recvfrom(128, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        host = host_of_port.get(port)
        if host is None or len(frame) < _ARP_AT + _ARP.size or frame[12:14] != _ARP_TYPE:
            continue
        _, _, _, _, operation, _, sender, _, _ = _ARP.unpack_from(frame, _ARP_AT)
        answering = IPv4Address(sender)
        if operation == _REPLY and answering in heard:
            heard[answering].add(host)
