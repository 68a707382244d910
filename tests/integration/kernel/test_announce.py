"""A guarded router as the agent builds it: silent until it is activated, then announced where it matters. And a classic
one, which the agent announces: for certain, and once.
"""

import multiprocessing
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from kernel_fixtures import (
    BRIDGE_A,
    BRIDGE_OUT,
    FLOATING_IP,
    GATEWAY_IP,
    NAMESPACE,
    OUTSIDE,
    PATIENCE_S,
    PORT_A,
    PORT_OUT,
    QG,
    QR_A,
    QR_B,
    ROUTER_ID,
    TAP_A,
    TAP_OUT,
    Tapped,
    Wires,
    arp,
    forwards,
    ip,
    ip_json,
    router,
    spy_on_ioctl,
)

from gapless.agent.kernel import netns
from gapless.agent.reconcile import Outcome, Reconciler
from gapless.config import HostSettings
from gapless.core.dataplane.desired import tap_name
from gapless.errors import Unavailable
from gapless.kernel.netlink import Netlink
from gapless.model.observed import GUARDED_GROUP
from gapless.model.router import Router, RouterId
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.announce import Announcer, Burst
from gapless.sentinel.beat.guard import Guard
from gapless.sentinel.beat.preparing import Port, Ready, get_ready, ports_of

pytestmark = pytest.mark.isolated

ROUTER = router((FLOATING_IP, "10.0.0.5"))
PHYSICAL = {"external": "ext0"}
TAPS = [tap_name(port.id) for port in (*ROUTER.ports, PORT_OUT)]
IPV6 = b"\x86\xdd"
OUTSIDES = {(PORT_OUT.mac, GATEWAY_IP), (PORT_OUT.mac, FLOATING_IP)}
END = b"\xff" * 6 + b"\x02\0\0\0\0\x77" + b"\x88\xb6" + b"the end of what was sent".ljust(46, b"\0")


def is_end(frame: bytes) -> bool:
    return frame == END


def send_end(wires: Wires, namespace: str | None, link: str) -> None:
    """A last frame, behind everything that was sent before it."""
    opened = wires.packets(link) if namespace is None else wires.at(namespace, lambda: wires.packets(link))
    opened.send(END)


def found_at(bridge: str, mac: str) -> str | None:
    """The port at which a bridge looks for an address."""
    entries = subprocess.run(["bridge", "fdb", "show", "br", bridge], capture_output=True, text=True, check=True)
    ports = [it.split()[2] for it in entries.stdout.splitlines() if it.startswith(mac) and " self" not in it]
    return ports[0] if ports else None


@pytest.fixture
def guard(wires: Wires) -> Iterator[Guard]:
    with Guard() as made:
        made.install()
        made.extend(clock.now() + 600)
        yield made


@pytest.fixture
def announcer(host: Reconciler) -> Iterator[Announcer]:
    made = Announcer()
    yield made
    made.close()


def announce(announcer: Announcer, turn: int = 0) -> Burst:
    return announcer.burst([ROUTER_ID], lambda: True, turn)


def prepare(announcer: Announcer, physical: dict[str, str] = PHYSICAL) -> None:
    announcer.prepare(ROUTER_ID, ports_of(ROUTER, physical))
    announcer.settle()


def announced(frames: list[bytes]) -> set[tuple[str, str]]:
    """(MAC address, address) pairs of gratuitous ARP among these frames."""
    heard = filter(None, map(arp, frames))
    return {(mac, sender) for _, mac, sender, target in heard if sender == target}


def test_a_standby_is_built_whole_and_speaks_when_it_is_activated(wires: Wires, host: Reconciler, guard: Guard) -> None:
    host.reconcile(ROUTER, guarded=True)
    assert wires.ping("outside", GATEWAY_IP).returncode != 0
    assert wires.ping("vm1", "10.0.0.1").returncode != 0
    guard.activate(TAPS)
    assert wires.reaches("outside", GATEWAY_IP)
    assert wires.reaches("vm1", OUTSIDE)
    guard.withdraw()
    assert wires.ping("outside", GATEWAY_IP).returncode != 0
    assert not host.reconcile(ROUTER, guarded=True).changed


def test_a_tap_in_the_wrong_group_is_put_right(host: Reconciler) -> None:
    def groups() -> set[str]:
        return {str(ip_json(f"link show {tap}")[0]["group"]) for tap in TAPS}

    host.reconcile(ROUTER)
    assert groups() == {"default"}
    outcome = host.reconcile(ROUTER, guarded=True)
    assert groups() == {str(GUARDED_GROUP)}
    assert outcome.what.count("ChangeGuard") == len(TAPS)
    assert not outcome.announced
    ip(f"link set {TAP_A} group 0")
    assert host.reconcile(ROUTER, guarded=True).what == f"ChangeGuard {TAP_A}"
    ip(f"link delete {TAP_A}")
    host.reconcile(ROUTER, guarded=True)
    assert groups() == {str(GUARDED_GROUP)}
    host.reconcile(ROUTER)
    assert groups() == {"default"}


def test_the_agent_announces_no_guarded_router_though_it_might_speak(
    wires: Wires, host: Reconciler, guard: Guard
) -> None:
    """Whoever succeeds may have it open already when the agent builds it anew: the beat announces, nobody else."""
    guard.activate(TAPS)
    outside = wires.tap("outside", "ext0")
    assert host.reconcile(ROUTER, guarded=True).changed
    assert wires.reaches("outside", GATEWAY_IP), "the guard lets it speak"
    host.close()  # What it would repeat is not sent any more, and what it sent is before the end.
    send_end(wires, None, "ext0")
    assert announced(outside.until(is_end)) == set()


def test_the_agent_announces_a_classic_router(wires: Wires, host: Reconciler) -> None:
    outside = wires.tap("outside", "ext0")
    host.reconcile(ROUTER)
    send_end(wires, None, "ext0")
    assert announced(outside.until(is_end)) == OUTSIDES


def reconcile_anew(wires: Wires) -> Outcome:
    """What an agent that has just started does with the router. Nothing is repeated when this returns."""
    agent = Reconciler(wires.settings)
    outcome = agent.reconcile(ROUTER)
    agent.close()
    return outcome


def reconcile_until_killed(settings: HostSettings, wanted: Router) -> None:
    """By an agent of its own, which is killed when everything is up and would be announced next."""

    def work() -> None:
        agent = Reconciler(settings)
        agent._announcer.announce = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        agent.reconcile(wanted)

    agent = multiprocessing.get_context("fork").Process(target=work)
    agent.start()
    agent.join(PATIENCE_S)
    assert agent.exitcode == -signal.SIGKILL


def test_what_an_agent_was_killed_before_it_announced_the_next_one_announces_once(wires: Wires) -> None:
    outside, vm = wires.tap("outside", "ext0"), wires.tap("vm1", "net0")
    reconcile_until_killed(wires.settings, ROUTER)
    send_end(wires, None, "ext0")
    assert announced(outside.until(is_end)) == set()
    assert reconcile_anew(wires).what == f"Announce {QG}, Announce {QR_A}, Announce {QR_B}"
    send_end(wires, None, "ext0")
    send_end(wires, None, "vxlan-100")
    assert announced(outside.until(is_end)) == OUTSIDES
    assert announced(vm.until(is_end)) == {(PORT_A.mac, "10.0.0.1")}
    adopted = reconcile_anew(wires)
    assert (adopted.changed, adopted.announced) == (False, False)
    send_end(wires, None, "ext0")
    assert announced(outside.until(is_end)) == set()


def test_an_address_that_an_agent_was_killed_before_it_announced_is_announced_by_the_next_one(wires: Wires) -> None:
    first = Reconciler(wires.settings)
    first.reconcile(router())
    first.close()
    reconcile_until_killed(wires.settings, ROUTER)
    outside = wires.tap("outside", "ext0")
    assert reconcile_anew(wires).what == f"Announce {QG}"
    send_end(wires, None, "ext0")
    assert announced(outside.until(is_end)) == OUTSIDES


def test_a_router_whose_carrier_comes_late_is_announced_when_it_is_tried_again(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.reconcile(router())
    monkeypatch.setattr("gapless.agent.kernel.apply._CARRIER_TIMEOUT_S", 0.0)
    ip(f"link set {TAP_OUT} mode dormant")
    ip(f"link set {QG} down", inside=NAMESPACE)
    outside = wires.tap("outside", "ext0")
    for _ in range(2):
        with pytest.raises(Unavailable, match=f"{TAP_OUT} passes no frames"):
            host.reconcile(ROUTER)
    ip(f"link set {TAP_OUT} mode default")
    ip(f"link set {TAP_OUT} state up")
    assert host.reconcile(ROUTER).what == f"Announce {QG}"
    send_end(wires, None, "ext0")
    assert announced(outside.until(is_end)) == OUTSIDES


def test_announcements_leave_by_the_way_out_and_reach_no_other_port(
    wires: Wires, host: Reconciler, guard: Guard, announcer: Announcer
) -> None:
    host.reconcile(ROUTER, guarded=True)
    prepare(announcer)
    assert announcer.is_ready(ROUTER_ID)
    guard.activate(TAPS)
    ip("link add beside type veth peer name other")
    ip(f"link set beside master {BRIDGE_OUT} up")
    ip("link set other up")
    wires.eventually(lambda: forwards("beside"))
    outside, vm, beside = wires.tap("outside", "ext0"), wires.tap("vm1", "net0"), wires.hear("other")
    assert announce(announcer, turn=2) == Burst(frames=3 + 2 * (2 + 2))
    send_end(wires, None, "ext0")
    send_end(wires, None, BRIDGE_OUT)
    send_end(wires, None, "vxlan-100")
    assert announced(outside.until(is_end)) == {(PORT_OUT.mac, GATEWAY_IP), (PORT_OUT.mac, FLOATING_IP)}
    assert announced(vm.until(is_end)) == {(PORT_A.mac, "10.0.0.1")}
    assert [frame for frame in beside.until(is_end) if frame[12:14] != IPV6] == [END], (
        "every end of a cable speaks IPv6"
    )


def test_the_first_time_one_frame_a_mac_address_leaves_and_the_rest_follows_in_the_repeats(
    wires: Wires, host: Reconciler, guard: Guard, announcer: Announcer
) -> None:
    """That is all that switches need in a takeover, where no MAC address changes."""
    host.reconcile(ROUTER, guarded=True)
    prepare(announcer)
    guard.activate(TAPS)
    outside = wires.tap("outside", "ext0")
    heard = []
    for turn in range(3):
        announce(announcer, turn)
        send_end(wires, None, "ext0")
        heard.append([(about[0], about[2]) for about in map(arp, outside.until(is_end)) if about is not None])
    request, reply = 1, 2
    assert heard == [
        [(request, GATEWAY_IP)],
        [(request, GATEWAY_IP), (request, FLOATING_IP)],
        [(request, GATEWAY_IP), (reply, GATEWAY_IP), (request, FLOATING_IP), (reply, FLOATING_IP)],
    ]


def test_the_local_bridges_look_for_the_router_at_its_tap(
    wires: Wires, host: Reconciler, guard: Guard, announcer: Announcer
) -> None:
    host.reconcile(ROUTER, guarded=True)
    prepare(announcer)
    elsewhere = wires.at("outside", lambda: wires.packets("ext0"))
    elsewhere.send(b"\xff" * 6 + bytes.fromhex(PORT_OUT.mac.replace(":", "")) + b"\x88\xb6" + bytes(46))
    wires.eventually(lambda: found_at(BRIDGE_OUT, PORT_OUT.mac) == "ext0")
    announce(announcer)
    assert found_at(BRIDGE_OUT, PORT_OUT.mac) == "ext0"  # a standby's frames teach nothing
    guard.activate(TAPS)
    announce(announcer)
    wires.eventually(lambda: found_at(BRIDGE_OUT, PORT_OUT.mac) == TAP_OUT)
    wires.eventually(lambda: found_at(BRIDGE_A, PORT_A.mac) == TAP_A)


def test_a_router_that_is_built_or_rebuilt_later_is_made_ready_then(
    wires: Wires, host: Reconciler, guard: Guard, announcer: Announcer
) -> None:
    prepare(announcer)
    assert not announcer.is_ready(ROUTER_ID)
    assert announce(announcer).unready == [ROUTER_ID]
    host.reconcile(ROUTER, guarded=True)
    announce(announcer)  # finds that it is not ready, and asks for it
    announcer.settle()
    assert announcer.is_ready(ROUTER_ID)
    ip(f"link delete {QG}", inside=NAMESPACE)
    host.reconcile(ROUTER, guarded=True)
    burst = announce(announcer)
    assert burst.lost == 1
    assert burst.unready == [ROUTER_ID]
    announcer.settle()
    assert announce(announcer).lost == 0
    host.remove(ROUTER_ID)
    host.reconcile(ROUTER, guarded=True)
    prepare(announcer)
    guard.activate(TAPS)
    assert announce(announcer) == Burst(frames=6)
    wires.eventually(lambda: found_at(BRIDGE_OUT, PORT_OUT.mac) == TAP_OUT)


class Gate:
    """Lets preparations begin one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began: queue.SimpleQueue[RouterId] = queue.SimpleQueue()
        self._go = threading.Semaphore(0)
        monkeypatch.setattr("gapless.sentinel.beat.announce.get_ready", self._get_ready)

    def _get_ready(self, host: Netlink, router_id: RouterId, ports: tuple[Port, ...], was: Ready | None) -> Ready:
        self.began.put(router_id)
        assert self._go.acquire(timeout=PATIENCE_S)
        return get_ready(host, router_id, ports, was)

    def lets(self, times: int) -> None:
        """So many may begin and end."""
        self._go.release(times)


def test_a_router_that_is_needed_is_prepared_once_and_before_all_others(
    host: Reconciler, guard: Guard, announcer: Announcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The successor has just been restarted, and prepares for seconds, when it has to announce."""
    host.reconcile(ROUTER, guarded=True)
    gate = Gate(monkeypatch)
    others = [RouterId(f"other-{number}") for number in range(3)]
    for each in others:
        announcer.prepare(each, ())
    assert gate.began.get(timeout=PATIENCE_S) == others[0]
    announcer.prepare(ROUTER_ID, ports_of(ROUTER, PHYSICAL))
    for _ in range(3):  # The first time, and both repeats.
        assert announce(announcer).unready == [ROUTER_ID]
    assert announcer.is_preparing
    gate.lets(4)
    announcer.settle()
    assert [gate.began.get_nowait() for _ in range(3)] == [ROUTER_ID, *others[1:]]
    assert set(announcer.became_whole()) == {ROUTER_ID, *others}
    assert not announcer.is_preparing
    assert gate.began.empty()
    assert announce(announcer).unready == []
    assert announcer.became_whole() == []


def test_what_changed_while_it_was_prepared_is_prepared_once_more(
    host: Reconciler, guard: Guard, announcer: Announcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.reconcile(ROUTER, guarded=True)
    gate = Gate(monkeypatch)
    announcer.prepare(ROUTER_ID, ())
    assert gate.began.get(timeout=PATIENCE_S) == ROUTER_ID
    for _ in range(100):
        announcer.prepare(ROUTER_ID, ports_of(ROUTER, PHYSICAL))
    gate.lets(2)
    announcer.settle()
    assert not announcer.is_ready(ROUTER_ID), "the answer was for other ports"
    announcer.settle()
    assert announcer.is_ready(ROUTER_ID)
    assert gate.began.get_nowait() == ROUTER_ID
    assert gate.began.empty(), "a hundred wishes are one"


def test_a_router_that_is_given_an_address_is_announced_whole_when_that_is_prepared(
    host: Reconciler, guard: Guard, announcer: Announcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.reconcile(ROUTER, guarded=True)
    ports = ports_of(ROUTER, PHYSICAL)
    announcer.prepare(ROUTER_ID, [replace(port, addresses=port.addresses[:1]) for port in ports])
    announcer.settle()
    assert announcer.became_whole() == [ROUTER_ID]
    before = announce(announcer, turn=1)
    assert before.unready == []
    gate = Gate(monkeypatch)
    announcer.prepare(ROUTER_ID, ports)
    assert announce(announcer, turn=1) == replace(before, unready=[ROUTER_ID]), "what is known is announced"
    assert not announcer.is_ready(ROUTER_ID)
    gate.lets(1)
    announcer.settle()
    assert announcer.became_whole() == [ROUTER_ID]
    after = announce(announcer, turn=1)
    assert (after.unready, after.frames - before.frames) == ([], 1), "the floating IP, by one way out"


def test_a_bridge_that_is_gone_is_asked_about_by_index_alone(
    host: Reconciler, guard: Guard, announcer: Announcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask by its name would make the kernel look for a module while the beat waits."""
    host.reconcile(ROUTER, guarded=True)
    prepare(announcer)
    ip(f"link delete {BRIDGE_A}")
    asked = spy_on_ioctl(monkeypatch, "announce", "interfaces")
    assert announce(announcer).unready == [ROUTER_ID]
    assert asked
    assert not [about for about in asked if about.startswith(BRIDGE_A.encode())]


def test_a_forgotten_router_is_announced_no_more(host: Reconciler, announcer: Announcer) -> None:
    host.reconcile(ROUTER, guarded=True)
    announcer.prepare(ROUTER_ID, ports_of(ROUTER, PHYSICAL))
    announcer.forget(ROUTER_ID)  # before its answer came
    announcer.settle()
    assert announce(announcer) == Burst(unready=[ROUTER_ID])
    prepare(announcer)
    announcer.forget(ROUTER_ID)
    assert announce(announcer) == Burst(unready=[ROUTER_ID])
    host.remove(ROUTER_ID)


def test_an_operators_bridge_is_left_by_its_ports_that_are_no_taps(
    wires: Wires, host: Reconciler, guard: Guard, announcer: Announcer
) -> None:
    ip("link add theirs type bridge mcast_snooping 0 forward_delay 0")
    ip("link set ext0 master theirs up")
    ip("link set theirs up")
    physical = {"external": "theirs"}
    settings = wires.with_physical(physical)
    operated = Reconciler(settings)
    operated.reconcile(ROUTER, guarded=True)
    prepare(announcer, physical)
    guard.activate(TAPS)
    outside, inside = wires.tap("outside", "ext0"), wires.tap(NAMESPACE, QG)
    assert announce(announcer, turn=1).unready == []
    send_end(wires, None, "theirs")
    assert announced(outside.until(is_end)) == {(PORT_OUT.mac, GATEWAY_IP), (PORT_OUT.mac, FLOATING_IP)}
    assert announced(inside.until(is_end)) == set()
    wires.eventually(lambda: found_at("theirs", PORT_OUT.mac) == TAP_OUT)
    operated.close()


def test_a_burst_ends_between_two_frames_when_they_may_not_leave_any_more(
    host: Reconciler, announcer: Announcer
) -> None:
    host.reconcile(ROUTER, guarded=True)
    prepare(announcer)
    whole = announce(announcer)
    allowed = iter([True] * (whole.frames + 1))
    burst = announcer.burst([ROUTER_ID] * 3, lambda: next(allowed, False))
    assert (burst.frames, burst.unready) == (whole.frames + 1, [])
    assert burst.unsent == [ROUTER_ID] * 2, "the second one in part"


def test_unknown_routers_hold_nothing_up(announcer: Announcer) -> None:
    assert announcer.burst([RouterId("nobody")], lambda: True) == Burst(unready=[RouterId("nobody")])


def test_our_bridges_learn_nothing_from_lldp(wires: Wires, host: Reconciler, guard: Guard) -> None:
    """It is one that no hook of the bridge sees."""
    host.reconcile(ROUTER, guarded=True)
    mac = "02:00:00:00:00:0e"
    inside = netns.enter(netns.path_of(ROUTER_ID), lambda: wires.packets(QG))
    inside.send(bytes.fromhex("0180c200000e") + bytes.fromhex(mac.replace(":", "")) + b"\x88\xcc" + bytes(46))
    inside.close()
    heard: Tapped = wires.hear(TAP_OUT)
    send_end(wires, NAMESPACE, QG)
    heard.until(is_end)
    assert found_at(BRIDGE_OUT, mac) is None
