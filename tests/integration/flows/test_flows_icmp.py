"""ICMP errors for flows that were copied: after the takeover they are translated as the flows are."""

import socket
import struct

import pytest
from flow_fixtures import CLIENT, FLOATING, GATEWAY, PATIENCE_S, SERVER, Pair, at, until
from flow_messages import udp_entry

from gapless.flows.table import Table
from gapless.kernel.netns import DIRECTORY

pytestmark = pytest.mark.isolated

ETH_IP = 0x0800


def quoted(protocol: int, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """The begin of a packet: what an ICMP error says of it."""
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 63, protocol, 0) + addresses
    return head[:10] + _checksum(head) + head[12:] + struct.pack("!HHHH", source[1], destination[1], 8, 0)


def unreachable(about: bytes) -> bytes:
    """An ICMP message: nobody listens at that port."""
    said = struct.pack("!BBHI", 3, 3, 0, 0) + about
    return said[:2] + _checksum(said) + said[4:]


def _checksum(said: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(said) // 2}H", said))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def say(pair: Pair, name: str, message: bytes, to: str) -> None:
    """Send an ICMP message from a namespace."""
    raw = at(name, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    pair.opened.append(raw)
    raw.sendto(message, (to, 0))


async def copied(pair: Pair) -> None:
    """Over to the other host, once that has the one flow that there is."""
    async with pair.following(pair.source(), pair.sink()):
        await until("the flow is on b", lambda: len(pair.tracked("b")) == 1)
    pair.plug_in("b")


async def test_an_error_from_outside_reaches_who_sent_through_snat_before_the_takeover(pair: Pair) -> None:
    """Nothing came from inside since: without the copy nobody would know whose it is."""

    def speaker() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((CLIENT, 2000))
        made.connect((SERVER, 53))
        made.settimeout(PATIENCE_S)
        return made

    with Table(DIRECTORY / "a") as table:
        assert table.make([udp_entry(2000, outer=3000)]) == []
    speaking = at("client", speaker)
    pair.opened.append(speaking)
    await copied(pair)
    say(pair, "server", unreachable(quoted(socket.IPPROTO_UDP, (GATEWAY, 3000), (SERVER, 53))), GATEWAY)
    with pytest.raises(ConnectionRefusedError):
        speaking.recv(100)


async def test_an_error_from_behind_a_floating_ip_comes_from_that_and_quotes_it(pair: Pair) -> None:
    inside = at("client", lambda: socket.create_server((CLIENT, 5002)))
    outside = at("server", lambda: socket.create_connection((FLOATING, 5002), timeout=PATIENCE_S))
    accepted, _ = inside.accept()
    pair.opened += [inside, outside, accepted]
    await copied(pair)
    hearing = at("server", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_IP)))
    pair.opened.append(hearing)
    hearing.settimeout(PATIENCE_S)
    source = (SERVER, outside.getsockname()[1])
    say(pair, "client", unreachable(quoted(socket.IPPROTO_TCP, source, (CLIENT, 5002))), SERVER)
    while (packet := hearing.recv(200))[9] != socket.IPPROTO_ICMP:
        pass
    assert packet[12:16] == socket.inet_aton(FLOATING)
    assert packet[40:52] == quoted(socket.IPPROTO_TCP, source, (FLOATING, 5002))[12:24], "both ends, with their ports"
