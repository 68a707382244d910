"""A host's uplinks with real interfaces: carriers that go, gateways that fall silent, come back and change."""

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from kernel_fixtures import OUTSIDE, Wires, arp, forwards, ip, ip_json, spy_on_ioctl

from gapless.core.edge.gateways import MISSES, QUESTION_S
from gapless.kernel.arp import ETHERTYPE, REPLY, REQUEST
from gapless.sentinel.beat.uplinks import Uplinks
from gapless.sentinel.beat.ways import Ways

pytestmark = pytest.mark.isolated

GATEWAY = IPv4Address(OUTSIDE)
NOBODY = IPv4Address("203.0.113.9")
SILENT = f"no answer from gateway {OUTSIDE}"


class Watch:
    """Uplinks on a clock that is moved by hand: a question leaves only when a test says so."""

    def __init__(self, wires: Wires, *missing: str) -> None:
        """`missing`: uplinks besides, which are cut, since there are none of these names."""
        # The uplink is a port of a bridge, as on a host with routers.
        ip("link add br-ext0 type bridge")
        ip("link set ext0 master br-ext0")
        ip("link set br-ext0 up")
        ip("link set ext0 up")
        self.uplinks = Uplinks(["ext0", *missing])
        self.outside = wires.tap("outside", "ext0")
        self._wires = wires
        self._now = 1000.0
        Wires.eventually(lambda: _is_forwarding() and ("ext0", None) not in self.uplinks.look(0.0).lost)

    def ask(self) -> bytes:
        """One more question leaves; returns it as it came out at the other end."""
        self._now += QUESTION_S
        self.uplinks.look(self._now)
        frames = self.outside.until(lambda frame: (about := arp(frame)) is not None and about[0] == REQUEST)
        return frames[-1]

    @property
    def ways(self) -> Ways:
        return self.uplinks.look(self._now)

    def look(self) -> str:
        """What is lost, without a question."""
        return self.ways.trouble

    def answered(self) -> None:
        """The gateway is asked, and has answered."""
        self.ask()
        Wires.eventually(lambda: not self._is_awaited())

    def _is_awaited(self) -> bool:
        self.look()
        return self.uplinks._gateways.are_awaited


@pytest.fixture
def watch(wires: Wires) -> Iterator[Watch]:
    made = Watch(wires)
    made.uplinks.watch([("ext0", GATEWAY)])
    yield made
    made.uplinks.close()


def silence() -> None:
    """The gateway answers no more; its carrier stays."""
    ip(f"address del {OUTSIDE}/24 dev ext0", inside="outside")


def speak() -> None:
    ip(f"address add {OUTSIDE}/24 dev ext0", inside="outside")


def test_a_carrier_that_goes_is_seen_at_the_next_look_and_so_is_its_return(watch: Watch) -> None:
    watch.answered()
    ip("link set ext0 down", inside="outside")
    Wires.eventually(lambda: watch.look() == "no carrier on ext0")
    assert watch.ways.lost == {("ext0", None), ("ext0", GATEWAY)}, "nor is a gateway reached"
    ip("link set ext0 up", inside="outside")
    Wires.eventually(lambda: watch.look() == "")


def test_an_interface_that_is_down_or_gone_has_no_carrier(watch: Watch) -> None:
    ip("link set ext0 down")
    assert watch.look() == "no carrier on ext0"
    ip("link delete ext0")
    assert watch.look() == "no carrier on ext0"


def test_an_interface_that_was_never_up_is_not_judged(wires: Wires) -> None:
    """Nobody has set it up yet: the agent does, for the first router, which goes to no host without a way out."""
    ip("link set ext0 down")
    ip("link add br-ex type bridge")
    uplinks = Uplinks(["ext0", "none0", "br-ex"])
    found = uplinks.look(0.0)
    assert found.trouble == "no carrier on none0, br-ex", "what is not there, and what is the operator's, is lost"
    assert (found.lost, found.unsure) == ({("none0", None), ("br-ex", None)}, {("ext0", None)})
    ip("link set ext0 up")
    Wires.eventually(lambda: uplinks.look(0.0).unsure == frozenset())
    ip("link set ext0 down")
    assert uplinks.look(0.0).lost == {("none0", None), ("br-ex", None), ("ext0", None)}
    uplinks.close()


def test_an_interface_that_is_gone_is_never_asked_about_by_name(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would look for a module of that name, while the beat waits."""
    watch.answered()
    ip("link delete ext0")
    asked = spy_on_ioctl(monkeypatch, "uplinks", "interfaces")
    for _ in range(10):
        assert watch.look() == "no carrier on ext0"
    assert len(asked) == 10
    assert not any(about.startswith(b"ext0") for about in asked)


def test_an_interface_that_is_made_anew_or_renamed_is_found(watch: Watch) -> None:
    watch.answered()
    ip("link delete ext0")
    assert watch.look() == "no carrier on ext0"
    ip("link add ext0 type veth peer name other0")
    ip("link set other0 up")
    ip("link set ext0 up")
    Wires.eventually(lambda: watch.look() == "")
    ip("link set ext0 down")
    ip("link set ext0 name elsewhere0")
    ip("link set elsewhere0 up")
    assert watch.look() == "no carrier on ext0"


def test_a_question_says_nothing_of_who_asks_and_goes_to_the_gateway_alone_once_that_is_known(watch: Watch) -> None:
    question = watch.ask()
    assert arp(question) == (REQUEST, _mac("ext0"), "0.0.0.0", OUTSIDE)
    assert question[:6] == b"\xff" * 6
    watch.answered()
    assert watch.ask()[:6].hex(":") == _mac("ext0", inside="outside")


def test_a_gateway_that_falls_silent_is_lost_and_comes_back(watch: Watch) -> None:
    watch.answered()
    silence()
    for _ in range(MISSES):
        watch.ask()
        assert watch.look() == ""
    watch.ask()
    assert watch.look() == SILENT
    assert watch.ways.lost == {("ext0", GATEWAY)}
    speak()
    watch.answered()
    assert watch.ways.lost == frozenset()
    assert watch.ways.watched == {("ext0", None), ("ext0", GATEWAY)}


def test_while_one_uplink_is_cut_the_gateway_behind_another_is_asked_and_its_loss_seen(wires: Wires) -> None:
    watch = Watch(wires, "none0")
    watch.uplinks.watch([("none0", NOBODY), ("ext0", GATEWAY)])
    watch.answered()
    cut = {("none0", None), ("none0", NOBODY)}
    assert (watch.look(), watch.ways.lost) == ("no carrier on none0", cut)
    silence()
    for _ in range(MISSES + 1):
        watch.ask()
    assert watch.look() == f"no carrier on none0; {SILENT}"
    assert watch.ways.lost == cut | {("ext0", GATEWAY)}
    watch.uplinks.close()


def test_a_gateway_that_never_answered_is_not_judged(watch: Watch) -> None:
    watch.uplinks.watch([("ext0", NOBODY)])
    for _ in range(3 * MISSES):
        watch.ask()
    assert watch.look() == ""


def test_a_gateway_with_a_new_address_on_the_wire_is_found_again_before_it_counts_as_lost(watch: Watch) -> None:
    """Another machine took the gateway's place: nobody has the MAC address any more that is asked."""
    watch.answered()
    ip("link set ext0 address 02:00:00:00:00:99", inside="outside")
    asked = [watch.ask()[:6]]
    while asked[-1] != b"\xff" * 6:
        assert watch.look() == ""
        asked.append(watch.ask()[:6])
    assert len(asked) <= MISSES
    Wires.eventually(lambda: not watch.look() and GATEWAY in watch.uplinks._macs)
    assert watch.ask()[:6] == bytes.fromhex("020000000099")


def test_what_is_not_watched_any_more_is_not_asked_and_not_lost(watch: Watch) -> None:
    watch.answered()
    silence()
    for _ in range(MISSES + 1):
        watch.ask()
    assert watch.look() == SILENT
    watch.uplinks.watch([("ext0", NOBODY), ("elsewhere", GATEWAY)])
    assert watch.look() == ""
    assert watch.uplinks._macs == {}, "nor remembered"
    assert arp(watch.ask()) == (REQUEST, _mac("ext0"), "0.0.0.0", str(NOBODY))


def test_what_was_known_of_a_gateway_stays_known_through_a_plan(watch: Watch) -> None:
    watch.answered()
    silence()
    for _ in range(MISSES + 1):
        watch.ask()
    watch.uplinks.watch([("ext0", GATEWAY), ("ext0", NOBODY)])
    assert watch.look() == SILENT


def test_half_a_frame_is_nobodys_answer(wires: Wires, watch: Watch) -> None:
    sender = wires.at("outside", lambda: wires.packets("ext0"))
    head = b"\xff" * 6 + b"\x02\0\0\0\0\x77" + struct.pack("!H", ETHERTYPE)
    for length in range(8, 28):
        sender.send(head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, REPLY).ljust(length, b"\0"))
    watch.answered()


def _is_forwarding() -> bool:
    """Whether the bridge passes on what comes by its uplink."""
    (bridge,) = ip_json("link show br-ext0")
    return bool(bridge["operstate"] == "UP" and forwards("ext0"))


def _mac(link: str, inside: str | None = None) -> str:
    words = ip(f"-o link show {link}", inside=inside).split()
    return words[words.index("link/ether") + 1]
