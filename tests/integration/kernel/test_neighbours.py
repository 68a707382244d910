"""What waits for a neighbour's address leaves when somebody answers, and not after it was forgotten."""

import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from kernel_fixtures import PATIENCE_S, Wires, ip, ip_json

from gapless.agent.kernel import netns
from gapless.errors import Unavailable
from gapless.kernel.neighbours import announce, forget_unresolved

pytestmark = pytest.mark.isolated

HERE, THERE = "10.99.0.1", "10.99.0.2"


def is_up(link: str, inside: str | None = None) -> bool:
    return bool(ip_json("link", "show", link, inside=inside)[0]["operstate"] == "UP")


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    """Of a host at the other end of the cable `data0`, which has no address yet."""
    ip("netns", "add", "there")
    ip("link", "add", "data0", "type", "veth", "peer", "name", "end", "netns", "there")
    ip("addr", "add", f"{HERE}/24", "dev", "data0")
    ip("link", "set", "data0", "up")
    ip("-n", "there", "link", "set", "end", "up")
    # A frame that is sent before the kernel has taken note of the carrier is lost.
    Wires.eventually(lambda: is_up("data0") and is_up("end", inside="there"))

    def make() -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind(("", 7000))
        opened.settimeout(PATIENCE_S)
        return opened

    with netns.enter(Path("/run/netns/there"), make) as opened:
        yield opened


@pytest.mark.parametrize(
    ("forget", "first_heard"),
    [
        pytest.param(lambda: 1, b"early", id="as the kernel does"),
        pytest.param(lambda: forget_unresolved("data0"), b"late", id="forgotten"),
    ],
)
def test_what_was_sent_while_nobody_could_hear_it(
    ear: socket.socket, forget: Callable[[], int], first_heard: bytes
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.sendto(b"early", (THERE, 7000))
        assert forget() == 1
        ip("-n", "there", "addr", "add", f"{THERE}/24", "dev", "end")
        mouth.sendto(b"late", (THERE, 7000))
        assert ear.recv(100) == first_heard


def test_neighbours_that_answered_are_kept(ear: socket.socket) -> None:
    ip("-n", "there", "addr", "add", f"{THERE}/24", "dev", "end")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.sendto(b"known", (THERE, 7000))
        assert ear.recv(100) == b"known"
    assert forget_unresolved("data0") == 0


def test_an_interface_that_is_gone_has_nobody_behind_it() -> None:
    assert forget_unresolved("nothing0") == 0


def test_who_knew_an_address_at_another_card_knows_it_here_once_it_is_announced(ear: socket.socket) -> None:
    ip("-n", "there", "addr", "add", f"{THERE}/24", "dev", "end")
    known = ("-n", "there", "neigh", "replace", HERE, "dev", "end", "lladdr", "02:00:00:00:00:99", "nud", "reachable")
    ip(*known)
    announce("data0", IPv4Address(HERE))
    (data0,) = ip_json("link", "show", "data0")
    Wires.eventually(lambda: f"lladdr {data0['address']} " in ip("-n", "there", "neigh", "show", HERE))


def test_an_interface_that_cannot_be_used_is_named() -> None:
    with pytest.raises(Unavailable, match=r"announce 10\.99\.0\.1 at gone0: No such device"):
        announce("gone0", IPv4Address(HERE))
