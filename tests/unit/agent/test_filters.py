"""What the kernel drops and what it lets through, by the agent's filters, which are run here."""

import socket
import struct

import pytest

from bpf_machine import passes
from gapless.agent.kernel import filters
from gapless.kernel.netlink import text, u32

NEWLINK, DELLINK, NEWADDR, NEWGEN, NEWTABLE = 16, 17, 20, 10 << 8 | 15, 10 << 8

UP, RUNNING, PROMISCUOUS, ALL = 0x1, 0x40, 0x100, 0xFFFFFFFF


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(name: str, kind: int = NEWLINK, family: int = socket.AF_UNSPEC, flags: int = 0, change: int = 0) -> bytes:
    return message(kind, struct.pack("=BxHiII", family, 0, 7, flags, change) + text(3, name) + u32(4, 1500))


@pytest.mark.parametrize("kind", [NEWLINK, DELLINK])
def test_links_are_told_by_their_names(kind: int) -> None:
    for name in ("qr-a0000000-00", "qg-b", "lo", "mine", "ta", "brr", "vxlbn-1", "j", "jm-a"):
        assert passes(filters.NO_HOSTS_ENDS, link(name, kind)), name
    for name in ("tapa0000000-00", "brqaaaaaaaa-aa", "vxlan-100", "tap", "jnlaaaaaaaa-aaa"):
        assert not passes(filters.NO_HOSTS_ENDS, link(name, kind)), name


@pytest.mark.parametrize("program", [filters.OF_LINKS_THAT_PASS, filters.NO_HOSTS_ENDS])
def test_what_a_bridge_says_of_its_ports_is_dropped_and_what_is_not_of_links_passes(program: bytes) -> None:
    assert not passes(program, link("qr-a", family=socket.AF_BRIDGE, flags=UP))
    assert not passes(program, link("qr-a", DELLINK, family=socket.AF_BRIDGE, flags=UP))
    assert passes(program, message(NEWADDR, struct.pack("=BBBBi", socket.AF_INET, 24, 0, 0, 7)))
    nameless = message(NEWLINK, struct.pack("=BxHiII", 0, 0, 7, UP, 0) + u32(4, 1500))
    assert passes(program, nameless)


@pytest.mark.parametrize(
    ("kind", "flags", "change", "is_heard"),
    [
        (NEWLINK, UP, 0, True),
        (NEWLINK, UP | RUNNING, ALL, True),
        (NEWLINK, 0, UP | RUNNING, True),
        (NEWLINK, RUNNING, UP, True),
        (NEWLINK, 0, ALL, False),
        (NEWLINK, 0, 0, False),
        (NEWLINK, 0, PROMISCUOUS, False),
        (NEWLINK, RUNNING, RUNNING, False),
        (DELLINK, 0, ALL, True),
        (DELLINK, UP, ALL, True),
    ],
)
def test_a_link_is_heard_of_that_is_up_goes_down_or_goes(kind: int, flags: int, change: int, is_heard: bool) -> None:
    assert bool(passes(filters.OF_LINKS_THAT_PASS, link("tapa", kind, flags=flags, change=change))) is is_heard


def generation(by: str) -> bytes:
    return message(NEWGEN, bytes(4) + u32(1, 5) + u32(2, 77) + text(3, by))


def test_a_generation_is_told_by_who_made_it() -> None:
    program = filters.only(NEWGEN, by_others_than="gapless-beat")
    assert passes(program, generation("nft"))
    assert passes(program, generation("gapless-bear"))
    assert not passes(program, generation("gapless-beat"))
    assert not passes(program, message(NEWTABLE, bytes(4)))


def test_all_but_some() -> None:
    program = filters.all_but(NEWGEN, NEWADDR)
    assert passes(program, message(NEWTABLE, b""))
    assert not passes(program, message(NEWGEN, b""))
    assert not passes(program, message(NEWADDR, b""))
