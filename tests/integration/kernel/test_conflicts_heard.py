"""Another machine on the external network uses an address of a router: what this host hears of it."""

import socket
import struct
import subprocess
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface

import pytest
from kernel_fixtures import (
    BRIDGE_OUT,
    EXTERNAL,
    FLOATING_IP,
    GATEWAY_IP,
    OUTSIDE,
    PORT_OUT,
    Wires,
    forwards,
    ip,
    ip_json,
    router,
)

from gapless.agent.kernel import senders
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.conflicts import QUIET_S, SETTLE_S, Conflicts
from gapless.errors import Unavailable
from gapless.kernel import arp, bpf
from gapless.model.network import PortId
from gapless.model.plan import Epoch, PlannedRouter
from gapless.model.router import Gateway, Router, RouterId, RouterPort
from gapless.model.sender import Sender
from gapless.sentinel.beat.guard import Guard

pytestmark = pytest.mark.isolated

SOL_PACKET, PACKET_STATISTICS = 263, 6
_AT_ONCE = 100
"""Frames that the socket of a test has room for."""
FOREIGN_MAC = "52:54:00:00:00:01"
ROUTER = router((FLOATING_IP, "10.0.0.5"), ports=())
BESIDE = RouterPort(
    id=PortId("e1000000-0000-4000-8000-000000000001"),
    network=EXTERNAL,
    mac="fa:16:3e:0e:00:02",
    addresses=(IPv4Interface("203.0.113.11/24"),),
)
SECOND = Router(
    id=RouterId("22222222-2222-4222-8222-222222222222"),
    name="second",
    gateway=Gateway(port=BESIDE, next_hop=IPv4Address(OUTSIDE), snat=True),
)


@dataclass
class Listening:
    """An agent's ears and what it makes of them, on a clock moved by hand."""

    host: Reconciler
    wires: Wires
    bridge: str = BRIDGE_OUT
    conflicts: Conflicts = field(default_factory=Conflicts)
    now: float = 1000.0
    ailments: dict[RouterId, str] = field(default_factory=dict)
    heard: list[Sender] = field(default_factory=list)

    def plan(self, *routers: Router) -> None:
        self.conflicts.take_plan(PlannedRouter(router=each, epoch=Epoch(1)) for each in routers)
        self.host.senders(self.conflicts.watched)

    def look(self, after_s: float = 0.0) -> list[str]:
        """What is said now of all that was sent before."""
        self.now += after_s
        self.heard = self.host.senders(self.conflicts.watched)
        self.ailments = self.conflicts.take(self.heard, self.now)
        return [
            f"{each.address} {each.mac}" + f" over {each.frames}" * each.is_over for each in self.conflicts.take_news()
        ]

    def settles(self) -> list[str]:
        """What is said of it when it has been so for long enough."""
        assert self.look() == []
        return self.look(after_s=SETTLE_S)

    def after(self, *frames: bytes) -> None:
        """Send these frames from outside, and wait until the bridge has had them: it hears the last one after them."""
        last = b"\xff" * 6 + bytes.fromhex("020000000077") + b"\x88\xb6" + bytes(46)
        heard = self.wires.hear(self.bridge)
        sender = self.wires.at("outside", lambda: self.wires.packets("ext0"))
        for start in range(0, len(frames), _AT_ONCE):
            for frame in (*frames[start : start + _AT_ONCE], last):
                sender.send(frame)
            heard.until(lambda frame: frame[12:14] == b"\x88\xb6")
        heard.socket.close()


def asking(mac: str, address: str, target: str) -> bytes:
    """An ARP request, as whoever uses `address` sends it to find a neighbour."""
    source = bytes.fromhex(mac.replace(":", ""))
    words = struct.pack("!HHBBH", 1, 0x0800, 6, 4, arp.REQUEST) + source + socket.inet_aton(address)
    return b"\xff" * 6 + source + b"\x08\x06" + words + bytes(6) + socket.inet_aton(target)


def announcing(mac: str, address: str) -> tuple[bytes, bytes]:
    return arp.frames(mac, IPv4Address(address))


def found(address: str = FLOATING_IP, mac: str = FOREIGN_MAC) -> list[str]:
    return [f"{address} {mac}"]


def passed(listening: Listening) -> int | None:
    """How many frames the kernel let pass to the ears since it was asked last; None: there are none."""
    opened = [each for _, each in listening.host._senders._opened.values()]
    return struct.unpack("=II", opened[0].getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[0] if opened else None


@pytest.fixture
def listening(host: Reconciler, wires: Wires) -> Listening:
    """The agent of a host with a guarded router, which no agent announces, so that what is heard is the test's own."""
    host.reconcile(ROUTER, guarded=True)
    listening = Listening(host, wires)
    listening.plan(ROUTER)
    return listening


def plug_in_foreigner() -> None:
    """A machine that has the floating IP as its own, on a switch with the outside world, behind the host's uplink."""
    ip("link add switch type bridge mcast_snooping 0", inside="outside")
    ip(f"address del {OUTSIDE}/24 dev ext0", inside="outside")
    ip(f"address add {OUTSIDE}/24 dev switch", inside="outside")
    ip("link set ext0 master switch", inside="outside")
    ip("link set switch up", inside="outside")
    ip("netns add foreigner")
    ip("link add foreign type veth peer name net0 netns foreigner", inside="outside")
    ip("link set foreign master switch up", inside="outside")
    ip(f"link set net0 address {FOREIGN_MAC} up", inside="foreigner")
    ip(f"address add {FLOATING_IP}/24 dev net0", inside="foreigner")
    # A question that is asked before is lost, and the next one is asked a second later.
    Wires.eventually(lambda: forwards("foreign", inside="outside"))


def test_a_foreign_machine_that_announces_a_floating_ip_is_said_once_and_over_when_quiet(listening: Listening) -> None:
    listening.after(*announcing(FOREIGN_MAC, FLOATING_IP))
    assert listening.settles() == found()
    assert listening.ailments[ROUTER.id].startswith(f"{FLOATING_IP} is also used by {FOREIGN_MAC}: ")
    listening.after(*announcing(FOREIGN_MAC, FLOATING_IP))
    assert listening.look(after_s=1.0) == []
    assert listening.look(after_s=QUIET_S - 1.0) == []
    assert listening.look(after_s=1.0) == [f"{found()[0]} over 4"]
    assert listening.ailments == {}


def test_a_foreign_machine_that_looks_for_its_neighbours_is_heard(listening: Listening, wires: Wires) -> None:
    """By its kernel, as on any machine that somebody gave the address to."""
    plug_in_foreigner()
    wires.ping("foreigner", "203.0.113.99")
    assert listening.settles() == found()


def test_a_foreign_machine_that_answers_this_host_is_heard(listening: Listening, wires: Wires) -> None:
    """Asked as by `arping` on this host: with a probe, which is no conflict itself."""
    plug_in_foreigner()
    own = bytes.fromhex(str(ip_json(f"link show {BRIDGE_OUT}")[0]["address"]).replace(":", ""))
    asker = wires.packets("ext0")
    heard = wires.hear(BRIDGE_OUT)
    asker.send(arp.probe(b"\xff" * 6, own, IPv4Address(FLOATING_IP)))
    heard.until(lambda frame: frame[20:22] == b"\0\2" and frame[22:28].hex(":") == FOREIGN_MAC)
    assert listening.settles() == found()


def test_the_gateway_ports_address_is_watched_too(listening: Listening) -> None:
    listening.after(asking(FOREIGN_MAC, GATEWAY_IP, "203.0.113.99"))
    assert listening.settles() == found(GATEWAY_IP)


def test_what_routers_and_their_other_hosts_send_is_no_conflict(listening: Listening, wires: Wires) -> None:
    """The router itself, the same router on another host that takes over, and who looks for it."""
    listening.host.reconcile(SECOND)
    listening.plan(ROUTER, SECOND)
    assert wires.reaches(f"qrouter-{SECOND.id}", GATEWAY_IP)
    listening.after(
        *announcing(PORT_OUT.mac, FLOATING_IP),
        *announcing(PORT_OUT.mac, GATEWAY_IP),
        *announcing(BESIDE.mac, "203.0.113.11"),
        asking(FOREIGN_MAC, "203.0.113.50", FLOATING_IP),
    )
    assert listening.look() == []
    assert {each.mac for each in listening.heard} == {PORT_OUT.mac, BESIDE.mac}
    assert listening.look(after_s=SETTLE_S) == []
    assert listening.ailments == {}


def test_a_standby_behind_its_closed_guard_hears_as_well(listening: Listening) -> None:
    with Guard() as guard:
        guard.install()
        listening.after(*announcing(FOREIGN_MAC, FLOATING_IP))
        assert listening.settles() == found()


def test_without_the_steering_table_it_is_heard_too(listening: Listening) -> None:
    subprocess.run(["nft", "delete table bridge gapless_arp"], check=True, timeout=10)
    listening.after(*announcing(FOREIGN_MAC, FLOATING_IP))
    assert listening.settles() == found()


def test_a_storm_is_bounded(listening: Listening) -> None:
    """One MAC address is named; the others are counted, as far as the socket had room, or forgotten at once."""
    macs = [f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(2 * senders._TURN)]
    listening.after(*(asking(mac, FLOATING_IP, "203.0.113.99") for mac in macs))
    assert listening.settles() == found(mac=macs[0])
    listening.after(*(asking(mac, "203.0.113.50", "203.0.113.99") for mac in macs))
    assert listening.look(after_s=1.0) == []
    assert listening.heard == []
    (known,) = listening.conflicts._known.values()
    assert 0 < known.by_others < 2 * senders._TURN


def test_what_cannot_be_a_conflict_stays_in_the_kernel(listening: Listening) -> None:
    foreigner = bytes.fromhex(FOREIGN_MAC.replace(":", ""))
    request = asking(FOREIGN_MAC, FLOATING_IP, "203.0.113.99")
    listening.after(
        arp.probe(b"\xff" * 6, foreigner, IPv4Address("203.0.113.99")),
        request[:30],
        request[:18] + b"\x08" + request[19:],
        request[:12] + b"\x08\x00" + request[14:],
    )
    assert passed(listening) == 0
    listening.after(request)
    assert passed(listening) == 1


def test_on_another_bridge_than_before_it_is_heard_again(listening: Listening) -> None:
    listening.host.remove(ROUTER.id)
    listening.host.sweep([])
    assert listening.look() == []
    listening.host.reconcile(ROUTER)
    assert listening.look() == []
    listening.after(*announcing(FOREIGN_MAC, FLOATING_IP))
    assert listening.settles() == found()


def test_a_bridge_that_was_down_is_heard_again(listening: Listening) -> None:
    ip(f"link set {BRIDGE_OUT} down")
    assert listening.look() == []
    ip(f"link set {BRIDGE_OUT} up")
    listening.after(*announcing(FOREIGN_MAC, FLOATING_IP))
    assert listening.settles() == found()


def test_an_operators_bridge_is_listened_to(wires: Wires) -> None:
    ip("link add br-ex type bridge")
    ip("link set br-ex up")
    ip("link set ext0 master br-ex up")
    agent = Reconciler(wires.with_physical({"external": "br-ex"}))
    agent.reconcile(ROUTER)
    listening = Listening(agent, wires, "br-ex")
    listening.plan(ROUTER)
    listening.after(*announcing(FOREIGN_MAC, FLOATING_IP))
    assert listening.settles() == found()
    agent.close()


def test_no_bridge_is_asked_for_by_ioctl_that_may_not_be_there(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would look for a module of that name each time, with a process of its own."""

    def asked(name: str) -> int:
        raise AssertionError(f"asked for {name}")

    ip("link add br-ex type bridge")
    ip("link set br-ex up")
    agent = Reconciler(wires.with_physical({"external": "br-ex"}))
    agent.reconcile(ROUTER)
    monkeypatch.setattr(socket, "if_nametoindex", asked)
    listening = Listening(agent, wires, "br-ex")
    listening.plan(ROUTER)
    assert listening.look() == []
    agent.close()


def test_who_is_not_watched_any_more_is_not_heard(listening: Listening) -> None:
    listening.plan()
    assert passed(listening) is None
    listening.after(*announcing(FOREIGN_MAC, FLOATING_IP))
    listening.plan(ROUTER)
    assert listening.settles() == []


def test_where_it_may_not_listen_it_says_so(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "_ONLY_SENDERS", bpf.packed((0xFF, 0, 0, 0)))
    listening.plan()
    with pytest.raises(Unavailable, match=f"it cannot be heard who speaks ARP on {BRIDGE_OUT}: "):
        listening.plan(ROUTER)
