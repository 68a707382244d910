"""What a broadcast on an external network costs a host, with 1, 100 and 1,000 routers: steered, and on a plain bridge.

    python bench/broadcasts.py [--routers 1,100,1000] [--room PORTS] [--frames 100] [--rounds 5] [--seconds 5]
                               [--strict] [--out DIRECTORY]

More routers than find room on one bridge are on leaves, as the agent has it; with `--room`, fewer find room. The router
that is asked for is the last one.

Re-executes itself in a user namespace of its own, so it needs no root and leaves nothing behind. It makes a bridge with
an uplink and that many taps, steers by the code that the agent steers by, and sends ARP in by the uplink.

A veth pair delivers in the context of the sender: bridging, flooding, filtering and what the receivers' kernels do with
a frame is in the processor time of the sending thread. Only what a flood leaves for later is not: the kernel's thread
for soft interrupts of that processor does it, so its time is added (with what it does for others meanwhile). Both ways
run in turns in one process, and the ratio is what holds on other machines. The other ends of the taps are in one
namespace, and there is no guard, which would drop a flooded frame at each tap of a standby.

And what it comes to when they do not end: `RATE` requests a second for some seconds, as many of them as a processor can
do, and what that takes of it: of steered ones `GOAL_PERCENT` at most in the median, whatever the number of routers.

A flood to 1,000 taps can be more than the processor's queue of received frames holds (1,000 by default,
net.core.netdev_max_backlog): then taps miss it, and the next frame finds no room. That one is sent again.
"""

import argparse
import errno
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import measuring
from gapless.agent.kernel import linkrequests, links, portentries
from gapless.agent.kernel.steering import Steering
from gapless.agent.kernel.steeringtable import FAMILY, TABLE
from gapless.core.dataplane.leaves import leaf_of, place
from gapless.core.dataplane.steering import entries_of, steering_mac
from gapless.kernel.netlink import Netlink
from gapless.model.leaf import Leaf, Plugged, Room
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.router import RouterId, RouterPort
from gapless.model.steering import Outside

INSIDE = "GAPLESS_BENCH_INSIDE"
PAUSE_S = 0.002
NETWORK = Network(id=NetworkId("external"), type=NetworkType.FLAT, mtu=1500, physical_network="external")
NEXT_HOP = IPv4Address("10.0.0.1")
OUTSIDE = Outside(uplink="uplink", inlets=frozenset({"uplink"}))
ELSEWHERE = bytes.fromhex("fa163eff0001")
RATE = 1000
GOAL_PERCENT = 10.0
Lasted = list[tuple[float, float]]
"""How many requests went a second, and the percent of a processor that they took; of each round."""
WAYS = ("plain", "steered")
KINDS = ("request to a router here", "gratuitous ARP of a router elsewhere", "gratuitous ARP of the next hop")


def main() -> int:
    """Measure, print, maybe write. Exit 1, with `--strict`, when the goal was missed."""
    given = arguments()
    if INSIDE not in os.environ:
        os.execvpe("unshare", ["unshare", "-Urnm", sys.executable, *sys.argv], os.environ | {INSIDE: "1"})
    figures = measured(given)
    text = table(figures, given.seconds)
    print(f"processor time of the sender for each frame, {os.uname().machine}, Linux {os.uname().release}\n\n{text}")
    if given.out is not None:
        measuring.write(given.out, "broadcasts", text, figures)
    missed = any(misses(found["lasting"]["steered"]) for found in figures.values())
    return 1 if given.strict and missed else 0


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """By how many routers there are: by kind and way what a frame took, and as `lasting` what lasted."""
    run("mount -t tmpfs none /run")
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    run("ip link add out type bridge mcast_snooping 0 forward_delay 0")
    run("ip link add uplink master out type veth peer name wire")
    run("ip netns add inside")
    for link in ("lo", "out", "uplink", "wire"):
        run(f"ip link set {link} up")
    there, figures = 0, {}
    with Netlink() as host:
        for routers in given.routers:
            leaves = leaves_of(routers, given.room)
            add_taps(there, routers, leaves)
            there = routers
            found_by_kind, held = measure(host, routers, leaves, given)
            figures[str(routers)] = {**found_by_kind, "lasting": held}
    return figures


def table(figures: Mapping[str, Any], seconds: float) -> str:
    """In Markdown."""
    lines = ["| routers | frame | plain, µs | steered, µs | plain / steered |", "|---|---|---|---|---|"]
    lasting = ["| routers | plain: a second, of a core | steered: a second, of a core |", "|---|---|---|"]
    for routers, found in figures.items():
        for kind in KINDS:
            plain, steered = found[kind]["plain"], found[kind]["steered"]
            ratio = measuring.spread([a / b for a, b in zip(plain, steered, strict=True)])
            cells = [kind, measuring.spread(plain), measuring.spread(steered), ratio]
            lines.append(f"| {int(routers):,} | {' | '.join(cells)} |")
        held = found["lasting"]
        mark = "**" if misses(held["steered"]) else ""
        lasting.append(f"| {int(routers):,} | {lasted(held['plain'])} | {mark}{lasted(held['steered'])}{mark} |")
    heading = (
        f"{RATE:,} {KINDS[0]} a second, for {seconds:g} s. Goal: steered, {GOAL_PERCENT:g} % of a core at most "
        "in the median; what misses it is **bold**."
    )
    return "\n".join([*lines, "", heading, "", *lasting, ""])


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--routers", type=lambda said: sorted(map(int, said.split(","))), default=[1, 100, 1000])
    parser.add_argument("--room", type=lambda said: Room(ports=int(said)), default=Room(), help="ports of a bridge")
    parser.add_argument("--frames", type=int, default=100, help="in one go, of which there are ten of each kind")
    parser.add_argument("--rounds", type=int, default=5, help="of each kind and way (default: 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of requests that do not end (default: 5)")
    parser.add_argument("--strict", action="store_true", help="exit 1 when the goal is missed")
    parser.add_argument("--out", type=Path, help="where the results go")
    return parser.parse_args()


def port(number: int) -> RouterPort:
    """The gateway port of a router."""
    return RouterPort(
        id=PortId(f"{number:08x}-ab"),
        network=NETWORK,
        mac=f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}",
        addresses=(),
    )


def tap(number: int) -> str:
    """Its tap."""
    return f"tap{number:08x}-ab"


def address(number: int) -> IPv4Address:
    """Its address."""
    return IPv4Address("10.1.0.0") + number


def leaves_of(routers: int, room: Room) -> dict[int, Leaf]:
    """The leaf of each router that is on one."""
    numbers = {tap(number): number for number in range(routers)}
    placed = place(numbers, Plugged(ports={0: {"uplink"}}), room)
    return {numbers[name]: leaf_of(NETWORK.id, leaf) for name, leaf in placed.items() if leaf}


def add_leaf(leaf: Leaf) -> None:
    """A further bridge."""
    run(f"ip link add {leaf.bridge} type bridge mcast_snooping 0 forward_delay 0")
    run(
        f"ip link add {leaf.root_end} address {leaf.root_end_mac} master out "
        f"type veth peer name {leaf.leaf_end} address {leaf.leaf_end_mac}"
    )
    run(f"ip link set {leaf.leaf_end} master {leaf.bridge}")
    run(f"bridge fdb add {leaf.leaf_end_mac} dev {leaf.root_end} master static")
    run(f"bridge fdb add {leaf.root_end_mac} dev {leaf.leaf_end} master static")
    for name in (leaf.leaf_end, leaf.root_end, leaf.bridge):
        run(f"ip link set {name} up")


def add_taps(first: int, end: int, leaves: dict[int, Leaf]) -> None:
    """Taps with other ends that are up, and have their routers' MAC addresses."""
    for leaf in dict.fromkeys(leaves[number] for number in range(first, end) if number in leaves):
        if not Path("/proc/sys/net/ipv4/conf", leaf.bridge).exists():
            add_leaf(leaf)
    commands = []
    for number in range(first, end):
        peer, bridge = f"qg{number}", leaves[number].bridge if number in leaves else "out"
        commands.append(
            f"link add {tap(number)} master {bridge} type veth peer name {peer} address {port(number).mac} netns inside"
        )
        commands.append(f"link set {tap(number)} up")
    run("ip -batch -", "\n".join(commands))
    run("ip -n inside -batch -", "\n".join(f"link set qg{number} up" for number in range(first, end)))


def misses(held: Lasted) -> bool:
    """Whether requests that do not end took too much."""
    return statistics.median(share for _, share in held) > GOAL_PERCENT


def lasted(held: Lasted) -> str:
    """For people."""
    return f"{measuring.spread([rate for rate, _ in held], 0)}, {measuring.spread([share for _, share in held])} %"


def measure(
    host: Netlink, routers: int, leaves: dict[int, Leaf], given: argparse.Namespace
) -> tuple[dict[str, dict[str, list[float]]], dict[str, Lasted]]:
    """Microseconds a frame, by kind and way; one of each round. And by way what lasted, as `lasting` tells it."""
    asked = routers - 1
    wire = packed("02:00:00:00:00:01")
    sent = {
        KINDS[0]: frame(wire, NEXT_HOP, address(asked)),
        KINDS[1]: frame(ELSEWHERE, IPv4Address("10.9.9.9"), IPv4Address("10.9.9.9")),
        KINDS[2]: frame(wire, NEXT_HOP, NEXT_HOP),
    }
    found: dict[str, dict[str, list[float]]] = {kind: {way: [] for way in WAYS} for kind in KINDS}
    held: dict[str, Lasted] = {way: [] for way in WAYS}
    softirq = pinned()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as opened:
        opened.bind(("wire", 0))
        for _ in range(given.rounds):
            for way in WAYS:
                if way == "steered":
                    steer(host, routers, leaves)
                for kind, packet in sent.items():
                    found[kind][way].append(processor_us(opened, packet, given.frames, softirq))
                held[way].append(lasting(opened, sent[KINDS[0]], given.seconds, softirq))
            unsteer(routers)
    return found, held


def steer(host: Netlink, routers: int, leaves: dict[int, Leaf]) -> None:
    """As the agent does it, router by router."""
    steering = Steering()
    found = links.find(host, [tap(number) for number in range(routers)])
    for number in range(routers):
        it, name = port(number), tap(number)
        entries = entries_of(it, name, [address(number)], [NEXT_HOP], replace(OUTSIDE, leaf=leaves.get(number)))
        steering.want(RouterId(name), entries)
        steering.put(entries)
        mac = steering_mac(it.mac)
        host.carry_out(
            [portentries.send_to_port(name, found[name].index, mac), linkrequests.keep_multicasts_from(name)]
        )
    steering.close()


def unsteer(routers: int) -> None:
    """A plain bridge again."""
    run(f"nft delete table {FAMILY} {TABLE}")
    run("bridge -batch -", "\n".join(f"link set dev {tap(number)} mcast_flood on" for number in range(routers)))


def frame(sender: bytes, source: IPv4Address, target: IPv4Address) -> bytes:
    """A broadcast ARP request."""
    head = b"\xff" * 6 + sender + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return (head + sender + source.packed + bytes(6) + target.packed).ljust(60, b"\0")


def packed(mac: str) -> bytes:
    """A MAC address's six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def processor_us(opened: socket.socket, packet: bytes, frames: int, softirq: Path) -> float:
    """Processor time for each of so many frames. A pause after each lets what was left for later be done."""
    spent_ns = []
    for _ in range(2):
        begin = time.thread_time_ns() + later_ns(softirq)
        for _ in range(frames):
            while not was_sent(opened, packet):
                time.sleep(PAUSE_S)
            time.sleep(PAUSE_S)
        spent_ns.append(time.thread_time_ns() + later_ns(softirq) - begin)
    return min(spent_ns) / frames / 1000


def lasting(opened: socket.socket, packet: bytes, seconds: float, softirq: Path) -> tuple[float, float]:
    """`RATE` frames a second for so long: how many went a second, and the percent of a processor that they took.

    What is behind is not made up for: a processor that is busy with the frames takes as many as it can.
    """
    begin, spent_ns, went = time.monotonic(), time.thread_time_ns() + later_ns(softirq), 0
    due = begin
    while (now := time.monotonic()) < begin + seconds:
        if now < due:
            time.sleep(due - now)
        went += was_sent(opened, packet)
        due = max(due + 1 / RATE, now)
    time.sleep(PAUSE_S)
    took_s = time.monotonic() - begin
    spent_ns = time.thread_time_ns() + later_ns(softirq) - spent_ns
    return went / took_s, 100 * spent_ns / 1e9 / took_s


def was_sent(opened: socket.socket, packet: bytes) -> bool:
    """Send; false where there was no room for the frame."""
    try:
        opened.send(packet)
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return False
    return True


def later_ns(softirq: Path) -> int:
    """Processor time of the kernel's thread for soft interrupts of this processor."""
    return int((softirq / "schedstat").read_text().split()[0])


def pinned() -> Path:
    """Stay on one processor; the directory in /proc of its thread for soft interrupts."""
    processor = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processor})
    name = f"ksoftirqd/{processor}\n"
    found = (it.parent for it in Path("/proc").glob("[0-9]*/comm") if it.read_text() == name)
    return next(found)


def run(command: str, words: str = "") -> None:
    """Run a command that has to work."""
    done = subprocess.run(command.split(), input=words, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr or done.stdout}")


if __name__ == "__main__":
    sys.exit(main())
