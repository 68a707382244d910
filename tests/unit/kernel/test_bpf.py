"""Which ARP frames are heard, by filters that are run here, and that the kernel takes them for programs."""

import socket
from ipaddress import IPv4Address

import pytest

from bpf_machine import passes
from gapless.agent.kernel import senders
from gapless.kernel import arp, bpf
from gapless.sentinel.beat import uplinks

ROUTER, MACHINE = "fa:16:3e:00:00:01", "52:54:00:00:00:07"
ADDRESS = IPv4Address("198.18.0.9")
IP_PACKET = b"\xff" * 12 + b"\x08\x00" + bytes(50)


def test_of_arp_only_answers_are_heard_at_the_uplinks() -> None:
    asked, answered = arp.frames(MACHINE, ADDRESS)
    assert passes(uplinks._ONLY_ANSWERS, answered) >= arp.FRAME_BYTES
    assert not passes(uplinks._ONLY_ANSWERS, asked)
    assert not passes(uplinks._ONLY_ANSWERS, IP_PACKET)


def test_of_arp_only_who_has_an_address_is_heard_on_external_networks() -> None:
    source = bytes.fromhex(ROUTER.replace(":", ""))
    for frame in arp.frames(MACHINE, ADDRESS):
        assert passes(senders._ONLY_SENDERS, frame) == arp.FRAME_BYTES
    assert not passes(senders._ONLY_SENDERS, arp.probe(b"\xff" * 6, source, ADDRESS))
    assert not passes(senders._ONLY_SENDERS, IP_PACKET)
    assert not passes(senders._ONLY_SENDERS, b"\xff" * 14)


def test_the_kernel_takes_what_is_attached_for_a_program() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        bpf.attach(opened, bpf.packed(bpf.first(8)))
        with pytest.raises(OSError, match="Invalid argument"):
            bpf.attach(opened, bpf.packed((0xFF, 0, 0, 0)))


def test_what_is_attached_cuts_and_drops() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        bpf.attach(ours, bpf.packed((bpf.LOAD_BYTE, 0, 0, 0), (bpf.JUMP_EQUAL, 0, 1, 7), bpf.first(2), bpf.NOTHING))
        theirs.send(b"\x07ab")
        theirs.send(b"\x08ab")
        theirs.send(b"\x07cd")
        assert (ours.recv(8), ours.recv(8)) == (b"\x07a", b"\x07c")
