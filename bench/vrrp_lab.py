"""One measurement of keepalived in the lab: routers as Neutron builds them for high availability, a host that dies.

Switches, machines, VMs, the outside world, the probes and the connections are the lab's; the controller's machine
stays empty. The routers and what runs for each of them are those of `vrrp_routers`. All are active on the first host,
which then loses power.

Runs inside of a lab's namespaces: `vrrp_lab:main` by way of `gapless.lab.machines.enter`.
"""

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import conntrackd
import vrrp_routers
from gapless.errors import GaplessError
from gapless.lab import tenants
from gapless.lab.faults.base import TAKEN_OVER
from gapless.lab.findings import expect, result
from gapless.lab.findings.expect import Bounds, Frames, Measured
from gapless.lab.findings.result import Gaps, Probes, Versions
from gapless.lab.groups import first_of
from gapless.lab.lab import Lab
from gapless.lab.machines import layout, shell, wiring
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.machines.nodes import Host
from gapless.lab.machines.wiring import Cable
from gapless.lab.measuring import probes, survival, whereabouts
from gapless.lab.measuring.capture import Capture
from gapless.lab.measuring.connections import MIX, Course, Kinds
from gapless.lab.measuring.probes import Recording
from gapless.lab.measuring.sniffer import Orders, Seen
from gapless.lab.measuring.survival import Survivals
from gapless.lab.settings import LabSettings
from gapless.lab.waiting import until
from vrrp_routers import Peer

PATIENCE_S = 120.0
"""Plus a second a router."""
ASK_A_ROUTER_S = 0.02
"""To ask a conntrackd takes a process, and its own time: so it is done less often."""
STEADY_S = 1.0


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure, with a probe each `interval_ms`; the result goes to the file `result`."""

    peer: Peer
    routers: int
    interval_ms: float
    result: str
    flows: int = 0
    """Connections through the routers,"""
    kinds: Kinds = MIX
    """of these kinds, by turns."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement. A router's gap is the longer one of its two directions, as `gapless lab run` has it."""

    peer: Peer
    routers: int
    gap_ms: Gaps
    double_active_frames: Frames
    problems: list[str]
    """What does not hold, judged as a takeover of Gapless is."""
    probes: Probes
    versions: Versions
    keepalived: str
    """Its version."""
    conntrackd: str = ""
    """Its version; "": there was none."""
    connections: Survivals | None = None
    """What became of connections; None: there were none."""


def main(argument: dict[str, Any]) -> int:
    """Entry for `enter.call`; returns the exit status."""
    orders = msgspec.convert(argument, Measurement)
    try:
        found = asyncio.run(_measure(orders))
    except (GaplessError, ExceptionGroup) as error:
        print(f"bench/vrrp_lab.py: {first_of(error)}", file=sys.stderr)
        return 1
    Path(orders.result).write_bytes(msgspec.json.encode(found))
    return 0


async def _measure(orders: Measurement) -> Found:
    settings = LabSettings(hosts=2, routers=0, interval_ms=orders.interval_ms, flows=orders.flows, kinds=orders.kinds)
    async with Lab(settings) as lab:
        await lab.build_nodes()
        lab.tenants = [vrrp_routers.tenant_of(number + 1) for number in range(orders.routers)]
        await tenants.plug_in_vms(lab.tenants)
        first, second = lab.hosts.values()
        for host in (first, second):
            await vrrp_routers.build(host, lab.tenants, orders.peer)
        for host in (first, second):
            await vrrp_routers.start(host, lab.tenants, orders.peer)
            await _active_on(lab, first)
        capture = Capture(_orders(lab))
        try:
            return await _strike(lab, first, capture, orders)
        finally:
            await capture.close()


async def _strike(lab: Lab, victim: Host, capture: Capture, orders: Measurement) -> Found:
    async with lab.traffic() as traffic, lab.talking() as talking:
        await capture.start()
        await traffic.all_answered(for_s=STEADY_S, timeout_s=PATIENCE_S + orders.routers)
        if orders.peer.conntrackd:
            await _connections_told(lab, orders.flows)
        await traffic.begin()
        await capture.begin()
        await talking.begin()
        # Adverts come at regular intervals: a fault at a random moment between two of them.
        await asyncio.sleep(STEADY_S + random.random() * orders.peer.timing.advert_s)
        await wiring.cut(victim.place.cables)
        victim.machine.power_off()
        await traffic.all_answered(for_s=STEADY_S, timeout_s=PATIENCE_S + orders.routers)
        courses = await talking.end(LAB_DIR / "connections")
        seen = await capture.end(LAB_DIR / "seen")
        recording = await traffic.end(LAB_DIR / "recording")
    return await _found(lab, orders, courses, seen, recording)


async def _found(lab: Lab, orders: Measurement, courses: Sequence[Course], seen: Seen, recording: Recording) -> Found:
    routers = [tenant.router_id for tenant in lab.tenants]
    gaps, wire = result.gaps(recording, routers), result.wire(seen, [], recording.interval_ms)
    measured = Measured(
        affected=routers,
        moved=routers,
        recorded=0,
        gap_ms=gaps.max or 0.0,
        bystanders_ms=gaps.bystanders.max or 0.0,
        sent=recording.sent,
        lost=recording.lost,
        answered_within_ms=probes.answered_within_ms(recording.interval_ms) + recording.lateness_ms,
        double_active_frames=result.double_active_frames(wire),
        overlaps=wire.double_active,
        frames_missed=wire.missed,
    )
    return Found(
        peer=orders.peer,
        routers=orders.routers,
        gap_ms=gaps,
        double_active_frames=measured.double_active_frames,
        problems=expect.problems(TAKEN_OVER, Bounds(), measured),
        probes=result.probes(recording),
        versions=result.versions(),
        keepalived=await _version("keepalived", "--version"),
        conntrackd=await _version("conntrackd", "-v") if orders.peer.conntrackd else "",
        connections=survival.survivals(courses, routers, synced=orders.peer.conntrackd) if courses else None,
    )


async def _version(program: str, option: str) -> str:
    """The first sentence of what it says of itself, on whichever stream."""
    said = await shell.run("sh", "-c", f"{program} {option} 2>&1")
    return said.splitlines()[0].partition(". ")[0]


def _orders(lab: Lab) -> Orders:
    """What the capture is told: the hosts' ports on both networks, and the routers' MAC addresses."""
    cables = [
        (cable, name) for name, host in lab.hosts.items() for cable in (host.place.data_cable, host.place.ext_cable)
    ]
    return Orders(
        host_of_port={cable.port: name for cable, name in cables},
        outside={vrrp_routers.mac(3, one.number): one.router_id for one in lab.tenants},
        inside={one.vni: {vrrp_routers.mac(2, one.number): one.router_id} for one in lab.tenants},
        deaf_to=Cable(layout.DATA, layout.COMPUTE).port,
        ask_through=layout.EXT.name,
        addresses=tuple(str(tenant.gateway_address) for tenant in lab.tenants),
    )


async def _active_on(lab: Lab, host: Host) -> None:
    """Wait until every router's addresses are on that host."""
    where: dict[str, list[str]] = {}

    async def active() -> bool:
        where.clear()
        where.update(whereabouts.placement(lab.tenants, await whereabouts.look(lab.hosts.values())))
        return all(hosts == [host.name] for hosts in where.values())

    def why_not() -> str:
        return "; ".join(f"{router} is on {hosts}" for router, hosts in where.items() if hosts != [host.name])[:300]

    await until(active, f"keepalived has all routers on {host.name}", PATIENCE_S + len(lab.tenants), why_not)


async def _connections_told(lab: Lab, count: int) -> None:
    """Wait until the conntrackds of the host that stands by know this many connections."""
    standby, known = list(lab.hosts.values())[1], 0

    async def are_told() -> bool:
        nonlocal known
        listed = await standby.machine.run("sh", "-e", given=conntrackd.ask(vrrp_routers.DIRECTORY))
        known = conntrackd.told(listed)
        return known >= count

    wanted = f"{count} connections are known to the conntrackds of {standby.name}"
    patience_s, each_s = PATIENCE_S + len(lab.tenants), ASK_A_ROUTER_S * len(lab.tenants)
    await until(are_told, wanted, patience_s, lambda: f"{known} are", each_s=each_s)
