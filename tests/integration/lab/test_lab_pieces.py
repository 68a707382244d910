"""What a lab is made of, without Gapless in it: machines, cables, and a measurement checked against a known outage."""

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from lab_cables import carrying

from gapless.errors import Unavailable
from gapless.lab.machines import addresses, layout, netns, shell, wiring
from gapless.lab.machines import machine as lab_machine
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.machines.layout import Place
from gapless.lab.machines.machine import Machine
from gapless.lab.machines.nodes import Host
from gapless.lab.measuring import traffic as lab_traffic
from gapless.lab.measuring import whereabouts
from gapless.lab.measuring.probes import Direction, Flow, Pulse, gap
from gapless.lab.measuring.traffic import Traffic
from gapless.lab.settings import LabSettings
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab

PING = ("ping", "-c", "1", "-W", "2")


async def plugged_in(place: Place) -> Machine:
    machine = Machine(place.name)
    await machine.power_on()
    await shell.ip(place.mgmt_cable.plug())
    await shell.ip(layout.addressed("mgmt0", place.mgmt_address), inside=machine.inside())
    return machine


async def test_machines_talk_over_a_switch_until_a_cable_is_cut() -> None:
    await layout.MGMT.install(str(layout.LAB_ADDRESS))
    one, two = await plugged_in(Place(1)), await plugged_in(Place(2))
    await carrying(Place(1).mgmt_cable, Place(2).mgmt_cable)
    await one.run(*PING, str(Place(2).mgmt_address.ip))

    await wiring.cut([Place(2).mgmt_cable])
    with pytest.raises(Unavailable):
        await one.run(*PING, str(Place(2).mgmt_address.ip))
    assert "NO-CARRIER" in await two.run("ip", "link", "show", "mgmt0")

    await wiring.mend([Place(2).mgmt_cable])
    await carrying(Place(2).mgmt_cable)
    await one.run(*PING, str(Place(2).mgmt_address.ip))


async def test_addresses_are_seen_where_their_interface_is_up_and_be_they_many() -> None:
    path = netns.create("one")
    inside = ["nsenter", f"--net={path}", "--"]
    many = [f"address add 10.0.{number // 250}.{number % 250 + 1}/32 dev up0" for number in range(300)]
    await shell.ip(
        [
            "link add up0 type veth peer name down0",
            "link set up0 up",
            "address add 192.0.2.1/24 dev up0 label up0:label",
            "address add 192.0.2.2/24 dev up0",
            "address add 192.0.2.3/24 dev down0",
            *many,
        ],
        inside=inside,
    )
    found = addresses.up_in(path)
    assert IPv4Address("192.0.2.3") not in found
    assert {IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), IPv4Address("10.0.1.50")} <= found
    assert len(found) == 302
    with pytest.raises(OSError, match="No such file"):
        addresses.up_in(path.with_name("none"))


async def test_a_namespace_that_is_removed_while_it_is_looked_for_has_no_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = Machine(Place(1).name)
    await one.power_on()
    directory = one.root() / "run/netns"
    whole, half_gone, gone = (directory / f"qrouter-{name}" for name in ("whole", "half-gone", "gone"))
    await one.run("ip", "netns", "add", whole.name)
    half_gone.touch()  # its name was unmounted, and is about to be removed
    found = {each.name: each for each in (whole, half_gone, gone)}
    monkeypatch.setattr(Machine, "router_namespaces", lambda _: found)
    host = Host(Place(1), LabSettings())
    assert {each.router_id: each.addresses for each in await whereabouts.look([host])} == dict.fromkeys(
        found, frozenset()
    )

    def refuse(_: Path) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(addresses, "up_in", refuse)
    with pytest.raises(Unavailable, match="qrouter-whole cannot be looked into: too many open files"):
        await whereabouts.look([host])


async def sleeper(machine: Machine) -> int:
    """The process that sleeps. Who is about to become it has these words, too, among others."""

    def sleeping() -> list[int]:
        return [each.pid for each in machine.processes() if list(each.argv) == ["sleep", "1000"]]

    async def runs() -> bool:
        return bool(sleeping())

    await until(runs, "it runs", 20)
    return sleeping()[0]


async def test_losing_power_ends_every_process_and_leaves_the_namespaces_where_they_are() -> None:
    machine = Machine("host-1")
    await machine.power_on()
    # A process in a session of its own, whose parent is gone: no process group and no parent leads to it.
    await machine.run("sh", "-c", "setsid sleep 1000 > /dev/null 2>&1 & ip netns add qrouter-x")
    await sleeper(machine)
    assert list(machine.router_namespaces()) == ["x"]
    path = machine.router_namespaces()["x"]
    held = os.open(path, os.O_RDONLY)
    pids = [process.pid for process in machine.processes()]

    machine.power_off()
    await machine.ended()

    assert machine.processes() == []
    assert not [pid for pid in pids if Path(f"/proc/{pid}").is_dir()]  # noqa: ASYNC240 -- /proc does not block
    assert netns.path_of("host-1").exists()
    with pytest.raises(Unavailable, match="is off"):
        machine.inside()
    os.close(held)


async def test_losing_power_ends_what_was_stopped_as_well() -> None:
    machine = Machine("host-1")
    await machine.power_on()
    await machine.start(["sleep", "1000"], LAB_DIR / "log")
    os.kill(await sleeper(machine), signal.SIGSTOP)
    machine.power_off()
    await machine.ended()


async def test_a_machine_that_is_powered_on_again_has_its_disk_and_nothing_else() -> None:
    machine = Machine("host-1")
    await machine.power_on()
    await machine.run("sh", "-c", "echo kept > /run/gapless/file; echo gone > /run/file; ip netns add qrouter-x")
    machine.power_off()

    await machine.power_on()

    assert await machine.run("cat", "/run/gapless/file") == "kept\n"
    assert machine.router_namespaces() == {}
    with pytest.raises(Unavailable):
        await machine.run("cat", "/run/file")


async def test_one_name_can_exist_on_two_machines() -> None:
    machines = [Machine("host-1"), Machine("host-2")]
    for machine in machines:
        await machine.power_on()
        await machine.run("ip", "netns", "add", "qrouter-x")
    first, second = (machine.router_namespaces()["x"].stat().st_ino for machine in machines)
    assert first != second


async def test_a_command_that_fails_says_which_line_of_a_batch_it_was() -> None:
    with pytest.raises(Unavailable, match="link set nothing up"):
        await shell.ip(["link set lo up", "link set nothing up"])


async def _vm_router_and_outside() -> list[Flow]:
    """A VM and an outside, and a plain Linux router between them."""
    for name in ("vm", "router", "outside"):
        await asyncio.to_thread(netns.create, name)
    nodes = {name: ["nsenter", f"--net={netns.path_of(name)}", "--"] for name in ("vm", "router", "outside")}
    await shell.ip(
        [
            "link add inside type veth peer name eth0 netns vm",
            "link add outside type veth peer name eth0 netns outside",
            "address add 192.168.10.1/24 dev inside",
            "address add 198.18.0.2/16 dev outside",
            "link set inside up",
            "link set outside up",
        ],
        inside=nodes["router"],
    )
    await shell.run(*nodes["router"], "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    for name, address, via in (("vm", "192.168.10.2/24", "192.168.10.1"), ("outside", "198.18.0.1/16", "198.18.0.2")):
        lines = [
            f"address add {address} dev eth0",
            "link set eth0 up",
            "link set lo up",
            f"route add default via {via}",
        ]
        await shell.ip(lines, inside=nodes[name])
    outward = Flow(router_id="r", direction=Direction.OUT, netns="vm", source="192.168.10.2", target="198.18.0.1")
    inward = Flow(router_id="r", direction=Direction.IN, netns="outside", source="198.18.0.1", target="192.168.10.2")
    return [outward, inward]


async def heard(traffic: Traffic, says: Callable[[Pulse], bool], what: str) -> Pulse:
    """The first pulse that says so."""

    async def has_come() -> bool:
        return traffic.pulse is not None and says(traffic.pulse)

    await until(has_come, what, 20)
    assert traffic.pulse is not None
    return traffic.pulse


async def answered_anew(traffic: Traffic) -> Pulse:
    """The first pulse by which each flow was answered after this moment."""
    now = time.monotonic_ns()
    return await heard(traffic, lambda pulse: all(at > now for at in pulse.last_reply_ns), "each flow is answered")


async def begun(interval_ms: float = 10) -> Traffic:
    """Traffic through a plain router, measured, with replies of this measurement."""
    traffic = Traffic(await _vm_router_and_outside(), interval_ms)
    await traffic.start()
    await traffic.all_answered(for_s=0.5, timeout_s=20)
    await traffic.begin()
    for _ in range(2):  # the first one may have been on its way before the word to begin was read
        await answered_anew(traffic)
    return traffic


@pytest.mark.parametrize("interval_ms", [1, 10])
async def test_the_measured_gap_is_the_outage_that_was_made(interval_ms: float) -> None:
    traffic = await begun(interval_ms)
    router = ["nsenter", f"--net={netns.path_of('router')}", "--", "ip", "link", "set", "inside"]
    await shell.run(*router, "down")
    down = time.monotonic_ns()
    # A prober that stood still has heard nothing, either. Between two pulses it reads all that has arrived.
    first = await heard(traffic, lambda pulse: pulse.at_ns > down, "a word since then")
    silence = await heard(
        traffic, lambda pulse: pulse.at_ns > first.at_ns and not any(traffic.answered(pulse)), "no flow is answered"
    )
    up = time.monotonic_ns()
    await shell.run(*router, "up")
    await answered_anew(traffic)
    recording = await traffic.end(LAB_DIR / "recording")

    for number, track in enumerate(recording.tracks):
        last, back = silence.last_reply_ns[number], min(at for at in track.replied if at > up)
        # Neither longer nor shorter: no reply is within it, and the first one after the cable is back is its end.
        assert [at for at in track.replied if last < at < back] == []
        outage = gap(track.replied, last, back)
        assert (outage.begin_ns, outage.end_ns) == (last, back)
        # Only a machine that stood still for even longer has another gap to tell of.
        assert recording.gaps()[track.flow.router_id, track.flow.direction].ms >= outage.ms
    assert recording.lost > 0
    assert recording.sent > recording.lost


async def test_nothing_is_lost_where_nothing_is_broken() -> None:
    traffic = await begun()
    recording = await traffic.end(LAB_DIR / "recording")
    assert recording.lost == 0
    assert recording.sent > 0


async def test_waiting_for_traffic_that_does_not_come_names_the_flow() -> None:
    flows = await _vm_router_and_outside()
    await shell.run("nsenter", f"--net={netns.path_of('router')}", "--", "ip", "link", "set", "inside", "down")
    traffic = Traffic(flows, interval_ms=10)
    await traffic.start()
    with pytest.raises(Unavailable, match=r"192\.168\.10\.2 -> 198\.18\.0\.1"):
        await traffic.all_answered(for_s=0.1, timeout_s=1)
    await traffic.close()


async def test_a_prober_that_dies_is_noticed() -> None:
    traffic = Traffic(await _vm_router_and_outside(), interval_ms=10)
    await traffic.start()
    await traffic.all_answered(for_s=0.1, timeout_s=20)
    assert traffic.process is not None
    traffic.process.send_signal(signal.SIGKILL)
    with pytest.raises(Unavailable, match="ended on its own"):
        await traffic.all_answered(for_s=60, timeout_s=60)
    await traffic.close()


async def test_a_prober_that_is_stopped_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = await begun()
    monkeypatch.setattr(lab_traffic, "PULSE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(lab_traffic, "END_TIMEOUT_S", 0.1)
    assert traffic.process is not None
    os.kill(traffic.process.pid, signal.SIGSTOP)
    with pytest.raises(Unavailable, match=r"the prober has said nothing for 0\.5 s"):
        await traffic.all_answered(for_s=60, timeout_s=60)
    with pytest.raises(Unavailable, match=r"did not write its recording within 0\.1 s"):
        await traffic.end(LAB_DIR / "recording")
    assert traffic.process is None, "it was ended"


async def test_a_machine_that_does_not_start_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_machine, "_BOOT", "exec sleep 1000")
    monkeypatch.setattr(lab_machine, "_BOOT_TIMEOUT_S", 0.2)
    machine = Machine("host-1")
    with pytest.raises(Unavailable, match=r"machine host-1 did not start within 0\.2 s"):
        await machine.power_on()
    await machine.ended()
    monkeypatch.undo()
    await machine.power_on()
    assert machine.is_on


async def test_waiting_in_vain_ends_with_what_was_waited_for() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(Unavailable, match=r"pigs fly \(no wings\)"):
        await until(never, "pigs fly", 0.2, lambda: "no wings")
