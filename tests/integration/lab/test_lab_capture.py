"""The sniffer on real cables: whose frames it sees, and that it says what it did not see."""

import asyncio
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from functools import partial
from ipaddress import IPv4Address

import pytest
from lab_cables import carrying

from gapless.errors import Unavailable
from gapless.lab.machines import linux, shell
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.machines.netns import create, path_of
from gapless.lab.machines.wiring import Cable, Switch
from gapless.lab.measuring import capture as lab_capture
from gapless.lab.measuring.answers import who_answers
from gapless.lab.measuring.capture import Capture
from gapless.lab.measuring.ring import Ring
from gapless.lab.measuring.sniffer import Orders, Sniffer, filter_for
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab

EXT = Switch("sw-ext", "ext0")
DATA = Switch("sw-data", "data0")
CABLES = {(node, switch): Cable(switch, node) for node in ("host-1", "host-2") for switch in (EXT, DATA)}
GATEWAY = "fa:16:3e:00:00:01"
TENANT = "fa:16:3e:00:00:02"
OTHER = "fa:16:3e:00:00:03"
VNI = 1
ORDERS = Orders(
    host_of_port={cable.port: node for (node, _), cable in CABLES.items()},
    outside={GATEWAY: "r1"},
    inside={VNI: {TENANT: "r1", OTHER: "r2"}},
)


Senders = dict[tuple[str, Switch], socket.socket]


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def plain(source: str) -> bytes:
    """A broadcast as it is on the external network."""
    return b"\xff" * 6 + mac(source) + b"\x88\xb5" + bytes(50)


def in_vxlan(source: str, vni: int = VNI) -> bytes:
    """The same as it is on the data network."""
    inner = plain(source)
    udp = struct.pack("!HHHH", 50_000, 4789, 16 + len(inner), 0) + struct.pack("!II", 0x08000000, vni << 8)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 36 + len(inner), 0, 0, 64, 17, 0, bytes(4), bytes(4))
    return b"\xff" * 6 + bytes.fromhex("020000000001") + b"\x08\x00" + ip + udp + inner


@pytest.fixture
async def senders() -> AsyncIterator[Senders]:
    """Two hosts on two switches, and a socket at each of their ends."""
    for switch in (EXT, DATA):
        await switch.install()
    found = {}
    for node in ("host-1", "host-2"):
        create(node)
        for switch in (EXT, DATA):
            await shell.ip(CABLES[node, switch].plug())
            up = f"link set {switch.interface} up"
            await shell.ip([up], inside=["nsenter", f"--net={path_of(node)}", "--"])
            found[node, switch] = linux.in_netns(path_of(node), partial(_sender, switch.interface))
    await carrying(*CABLES.values())
    yield found
    for sender in found.values():
        sender.close()


def _sender(interface: str) -> socket.socket:
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.bind((interface, 0))
    return sender


@pytest.fixture
def ring() -> Iterator[Ring]:
    found = Ring(filter_for(ORDERS.macs))
    yield found
    found.close()


async def captured(sniffer: Sniffer, frames: int) -> None:
    async def has() -> bool:
        sniffer.take()
        return sniffer.seen().frames >= frames

    await until(has, f"{frames} frames are captured", 20)


async def test_each_frame_is_seen_once_with_its_router_and_its_host(senders: Senders, ring: Ring) -> None:
    sniffer = Sniffer(ORDERS, ring)
    senders["host-1", EXT].send(plain("02:00:00:00:00:09"))  # no router's
    senders["host-1", DATA].send(in_vxlan("fa:16:3e:ff:ff:ff"))  # some VM's
    senders["host-1", EXT].send(plain(GATEWAY))
    await captured(sniffer, 1)
    senders["host-1", DATA].send(in_vxlan(TENANT))
    await captured(sniffer, 2)
    senders["host-2", DATA].send(in_vxlan(OTHER))
    await captured(sniffer, 3)
    senders["host-2", EXT].send(plain(GATEWAY))
    await captured(sniffer, 4)
    seen = sniffer.seen()
    assert [(run.router_id, run.host, run.frames) for run in seen.runs] == [
        ("r1", "host-1", 2),
        ("r1", "host-2", 1),
        ("r2", "host-2", 1),
    ]
    assert seen.lost == 0


async def test_an_address_is_a_router_s_on_its_own_network(senders: Senders, ring: Ring) -> None:
    """On another one it may be somebody else's, who is active on another host."""
    inside = {VNI: {TENANT: "r1"}, 7: {GATEWAY: "r2", OTHER: "r3"}, 8: {OTHER: "r4"}}
    sniffer = Sniffer(Orders(host_of_port=ORDERS.host_of_port, outside={GATEWAY: "r1"}, inside=inside), ring)
    senders["host-1", EXT].send(plain(GATEWAY))
    await captured(sniffer, 1)
    senders["host-2", DATA].send(in_vxlan(GATEWAY))  # on r1's own network nobody has it
    for number, (source, vni) in enumerate(((GATEWAY, 7), (OTHER, 7), (OTHER, 8)), 2):
        senders["host-2", DATA].send(in_vxlan(source, vni))
        await captured(sniffer, number)
    assert {(run.router_id, run.host, run.frames) for run in sniffer.seen().runs} == {
        ("r1", "host-1", 1),
        ("r2", "host-2", 1),
        ("r3", "host-2", 1),
        ("r4", "host-2", 1),
    }


async def test_a_port_that_is_plugged_in_again_is_still_its_hosts(senders: Senders, ring: Ring) -> None:
    sniffer = Sniffer(ORDERS, ring)
    senders["host-1", EXT].send(plain(GATEWAY))
    await captured(sniffer, 1)
    cable = CABLES["host-1", EXT]
    await shell.ip(cable.unplug())
    await shell.ip(cable.plug())
    await shell.ip(["link set ext0 up"], inside=["nsenter", f"--net={path_of('host-1')}", "--"])
    await carrying(cable)
    with linux.in_netns(path_of("host-1"), partial(_sender, "ext0")) as again:
        again.send(plain(GATEWAY))
    await captured(sniffer, 2)
    assert [(run.host, run.frames) for run in sniffer.seen().runs] == [("host-1", 2)]


async def test_frames_that_there_is_no_room_for_are_counted(senders: Senders) -> None:
    ring = Ring(filter_for(ORDERS.macs), blocks=2, block_bytes=4096)
    sniffer = Sniffer(ORDERS, ring)
    for _ in range(500):
        senders["host-1", EXT].send(plain(GATEWAY))

    async def some_are_lost() -> bool:
        """They were sent; the kernel may hand them on a little later."""
        return sniffer.seen().lost > 0

    await until(some_are_lost, "there is no room for some", 20)
    for _ in range(20):
        sniffer.take()
    assert sniffer.seen().frames < 500
    ring.close()


async def test_frames_of_a_port_that_nobody_knows_any_more_are_counted_as_missed(senders: Senders, ring: Ring) -> None:
    sniffer = Sniffer(ORDERS, ring)
    senders["host-1", EXT].send(plain(GATEWAY))
    await shell.ip(CABLES["host-1", EXT].unplug())

    async def missed() -> bool:
        sniffer.take()
        return sniffer.unplaced > 0

    await until(missed, "the frame is taken", 20)
    assert (sniffer.seen().frames, sniffer.seen().lost) == (0, 1)


async def test_the_process_hands_over_what_it_saw_since_the_beginning(
    senders: Senders,
) -> None:
    capture = Capture(ORDERS)
    await capture.start()
    senders["host-1", EXT].send(plain(GATEWAY))
    await capture.begin()
    senders["host-1", DATA].send(in_vxlan(OTHER))
    seen = await capture.end(LAB_DIR / "seen")
    assert {run.router_id for run in seen.runs} >= {"r2"}
    assert seen.lost == 0
    with pytest.raises(Unavailable, match="not running"):
        await capture.begin()


async def test_addresses_are_asked_for_and_the_answer_is_seen(
    senders: Senders,
) -> None:
    """By a request without a sender; the host's answer comes from the router's MAC, and nobody learned anything."""
    inside = ["nsenter", f"--net={path_of('host-2')}", "--"]
    await shell.ip([f"link set ext0 address {GATEWAY}", "address add 198.18.0.7/16 dev ext0"], inside=inside)
    orders = Orders(
        host_of_port=ORDERS.host_of_port,
        outside=ORDERS.outside,
        inside=ORDERS.inside,
        ask_through=EXT.name,
        addresses=("198.18.0.7",),
    )
    capture = Capture(orders)
    with linux.in_netns(path_of("host-1"), _hearing_arp) as listener:
        await capture.start()
        request = listener.recv(64)
        listener.recv(64)
    assert (request[28:32], request[38:42]) == (bytes(4), bytes((198, 18, 0, 7)))
    seen = await capture.end(LAB_DIR / "seen")
    assert {(run.router_id, run.host) for run in seen.runs} == {("r1", "host-2")}
    assert not await shell.run(*inside, "ip", "neigh", "show", "dev", "ext0")


async def test_who_answers_is_every_host_that_does(senders: Senders) -> None:
    """One that two have, one that one has, one that nobody has; and an answer from a port that is no host's is none."""
    create("outside")
    await shell.ip(Cable(EXT, "outside").plug())
    for node, addresses in (("host-1", (7, 8)), ("host-2", (7,)), ("outside", (7, 9))):
        lines = [f"address add 198.18.0.{last}/16 dev ext0" for last in addresses]
        await shell.ip([*lines, "link set ext0 up"], inside=["nsenter", f"--net={path_of(node)}", "--"])
    ports = {CABLES[node, EXT].port: node for node in ("host-1", "host-2")}
    wanted = [IPv4Address(f"198.18.0.{last}") for last in (7, 8, 9)]
    found = await asyncio.to_thread(who_answers, wanted, EXT.name, ports)
    assert list(found.values()) == [{"host-1", "host-2"}, {"host-1"}, set()]


def _hearing_arp() -> socket.socket:
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    listener.bind(("ext0", 0x0806))
    listener.settimeout(10)
    return listener


async def test_a_sniffer_that_is_stopped_or_dies_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_capture, "END_TIMEOUT_S", 0.1)
    for number, words in ((signal.SIGSTOP, r"did not write what it saw within 0\.1 s"), (signal.SIGKILL, "sniffer")):
        capture = Capture(ORDERS)
        await capture.start()
        assert capture.process is not None
        os.kill(capture.process.pid, number)
        with pytest.raises(Unavailable, match=words):
            await capture.end(LAB_DIR / "seen")
        assert capture.process is None, "it was ended"


async def test_a_sniffer_that_cannot_begin_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    macs = {"fa:16:3e:00:00:01": "r1", "02:00:00:00:00:01": "r2"}
    capture = Capture(Orders(host_of_port={}, outside=macs, inside={}))
    with pytest.raises(Unavailable, match="did not start"):
        await capture.start()
    await capture.close()
