"""One measurement of keepalived in the lab: routers as Neutron builds them for high availability, a host that dies.

Switches, machines, VMs, the outside world and the probes are the lab's; the controller's machine stays empty. Each
router is a namespace on both hosts, with the same MAC addresses on both: `qr-` on the tenant's network, `qg-` on the
external one, `ha-` on a network of the router's own for VRRP. One keepalived for each holds the addresses and the
default route, with the configuration that Neutron's L3 agent writes: state BACKUP, nopreempt, priority 50,
garp_master_delay 60, and all addresses but one `virtual_ipaddress_excluded`. All routers are active on the first host,
which then loses power.

Runs inside of a lab's namespaces: `vrrp_lab:main` by way of `gapless.lab.machines.enter`.
"""

import asyncio
import random
import shutil
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import msgspec

from gapless.config import VXLAN_PORT, HostSettings
from gapless.errors import GaplessError
from gapless.lab import tenants
from gapless.lab.faults.base import TAKEN_OVER
from gapless.lab.findings import expect, result
from gapless.lab.findings.expect import Bounds, Frames, Measured
from gapless.lab.findings.result import Gaps, Probes, Versions
from gapless.lab.lab import Lab
from gapless.lab.machines import layout, shell, wiring
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.machines.machine import DISK
from gapless.lab.machines.nodes import Host
from gapless.lab.machines.wiring import Cable
from gapless.lab.measuring import probes, whereabouts
from gapless.lab.measuring.capture import Capture
from gapless.lab.measuring.sniffer import Orders
from gapless.lab.settings import LabSettings
from gapless.lab.tenants import Tenant
from gapless.lab.waiting import until

PATIENCE_S = 120.0
STEADY_S = 1.0
FIRST_VNI, FIRST_HA_VNI = 1_000, 100_000
AT_ONCE = 4
_GROUP = HostSettings.__dataclass_fields__["vxlan_group"].default


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How often keepalived speaks. VRRP's version 2 (RFC 3768) knows whole seconds, 3 (RFC 5798) hundredths."""

    name: str
    version: int
    advert_s: float


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure, with a probe each `interval_ms`; the result goes to the file `result`."""

    timing: Timing
    routers: int
    interval_ms: float
    result: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement. A router's gap is the longer one of its two directions, as `gapless lab run` has it."""

    timing: Timing
    routers: int
    gap_ms: Gaps
    double_active_frames: Frames
    problems: list[str]
    """What does not hold, judged as a takeover of Gapless is."""
    probes: Probes
    versions: Versions
    keepalived: str


def main(argument: dict[str, Any]) -> int:
    """Entry for `enter.call`; returns the exit status."""
    orders = msgspec.convert(argument, Measurement)
    try:
        found = asyncio.run(_measure(orders))
    except GaplessError as error:
        print(f"bench/vrrp_lab.py: {error}", file=sys.stderr)
        return 1
    Path(orders.result).write_bytes(msgspec.json.encode(found))
    return 0


async def _measure(orders: Measurement) -> Found:
    async with Lab(LabSettings(hosts=2, routers=0, interval_ms=orders.interval_ms)) as lab:
        await lab.build_nodes()
        lab.tenants = [_tenant(number + 1) for number in range(orders.routers)]
        await tenants.plug_in_vms(lab.tenants)
        first, second = lab.hosts.values()
        for host in (first, second):
            await _build(host, lab.tenants, orders.timing)
        for host in (first, second):
            await _start(host, lab.tenants)
            await _active_on(lab, first)
        capture = Capture(_orders(lab))
        try:
            return await _strike(lab, first, capture, orders)
        finally:
            await capture.close()


async def _strike(lab: Lab, victim: Host, capture: Capture, orders: Measurement) -> Found:
    async with lab.traffic() as traffic:
        await capture.start()
        await traffic.all_answered(for_s=STEADY_S, timeout_s=PATIENCE_S)
        await traffic.begin()
        await capture.begin()
        # Adverts come at regular intervals: a fault at a random moment between two of them.
        await asyncio.sleep(STEADY_S + random.random() * orders.timing.advert_s)
        await wiring.cut(victim.place.cables)
        victim.machine.power_off()
        await traffic.all_answered(for_s=STEADY_S, timeout_s=PATIENCE_S)
        seen = await capture.end(LAB_DIR / "seen")
        recording = await traffic.end(LAB_DIR / "recording")
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
        frames_missed=wire.missed,
    )
    return Found(
        timing=orders.timing,
        routers=orders.routers,
        gap_ms=gaps,
        double_active_frames=measured.double_active_frames,
        problems=expect.problems(TAKEN_OVER, Bounds(), measured),
        probes=result.probes(recording),
        versions=result.versions(),
        keepalived=await _version(),
    )


async def _version() -> str:
    path = shutil.which("keepalived", path="/usr/sbin:/sbin:/usr/bin")
    said = await shell.run("sh", "-c", f"{path} --version 2>&1")
    return said.splitlines()[0]


def _mac(kind: int, number: int) -> str:
    return f"fa:16:3e:{kind:02x}:{number >> 8:02x}:{number & 0xFF:02x}"


def _tenant(number: int) -> Tenant:
    external = layout.EXTERNAL_NET.network_address + 256 + 2 * number
    inside = layout.TENANT_NET.network_address
    name = f"{number:08d}-0000-4000-8000-000000000000"
    return Tenant(
        number=number,
        router_id=name,
        router_name=f"router-{number}",
        network_id=name,
        vni=FIRST_VNI + number,
        mtu=layout.PHYSICAL_MTU - 50,
        vm_port_id=name,
        vm_mac=_mac(1, number),
        vm_addresses=(inside + 10, inside + 11),
        subnet_gateway=inside + 1,
        gateway_address=external,
        floating_address=external + 1,
    )


def _orders(lab: Lab) -> Orders:
    """What the capture is told: the hosts' ports on both networks, and the routers' MAC addresses."""
    cables = [
        (cable, name) for name, host in lab.hosts.items() for cable in (host.place.data_cable, host.place.ext_cable)
    ]
    return Orders(
        host_of_port={cable.port: name for cable, name in cables},
        router_of_mac={_mac(kind, one.number): one.router_id for one in lab.tenants for kind in (2, 3)},
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

    await until(active, f"keepalived has all routers on {host.name}", PATIENCE_S, why_not)


# -- building ---------------------------------------------------------------------------------------------------------


async def _build(host: Host, routers: Sequence[Tenant], timing: Timing) -> None:
    """Namespaces, interfaces, NAT and configuration of all routers on one host; keepalived does not run yet."""
    await shell.ip([*_external(), *(line for one in routers for line in _networks(host, one))], inside=host.inside())
    limit = asyncio.Semaphore(AT_ONCE)

    async def inside(tenant: Tenant) -> None:
        namespace = f"qrouter-{tenant.router_id}"
        async with limit:
            await host.machine.run("ip", "netns", "exec", namespace, "sh", "-e", given=_inside(host, tenant, timing))

    async with asyncio.TaskGroup() as group:
        for tenant in routers:
            group.create_task(inside(tenant))


def _external() -> list[str]:
    return [
        "link add br-ex type bridge mcast_snooping 0 forward_delay 0",
        f"link set {layout.EXT.interface} master br-ex",
        "link set br-ex up",
    ]


def _networks(host: Host, tenant: Tenant) -> list[str]:
    """On the host: the router's namespace, its two VXLAN networks, and its three interfaces."""
    number, lines = tenant.number, [f"netns add qrouter-{tenant.router_id}"]
    for prefix, vni in (("r", tenant.vni), ("h", FIRST_HA_VNI + number)):
        lines += [
            f"link add b{prefix}-{number} mtu {tenant.mtu} type bridge mcast_snooping 0 forward_delay 0",
            f"link add v{prefix}-{number} mtu {tenant.mtu} type vxlan id {vni} group {_GROUP} "
            f"dev {layout.DATA.interface} local {host.place.data_address.ip} dstport {VXLAN_PORT}",
            f"link set v{prefix}-{number} master b{prefix}-{number} up",
            f"link set b{prefix}-{number} up",
        ]
    for kind, name, bridge in (
        (2, "qr", f"br-{number}"),
        (3, "qg", "br-ex"),
        (3 + host.place.number, "ha", f"bh-{number}"),
    ):
        tap = f"t{name}-{number}"
        lines += [
            f"link add {tap} type veth peer name {name}-{number} address {_mac(kind, number)} "
            f"netns qrouter-{tenant.router_id}",
            f"link set {tap} master {bridge} up",
        ]
    return lines


def _inside(host: Host, tenant: Tenant, timing: Timing) -> str:
    """A shell script for the router's namespace."""
    number, (floating, _) = tenant.number, tenant.vm_addresses
    return f"""
for setting in all/disable_ipv6 default/disable_ipv6; do echo 1 > /proc/sys/net/ipv6/conf/$setting; done
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore
echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce
nft -f - <<END
table ip nat {{
  chain prerouting {{ type nat hook prerouting priority -100;
    ip daddr {tenant.floating_address} dnat to {floating}; }}
  chain postrouting {{ type nat hook postrouting priority 100;
    ip saddr {floating} oifname "qg-{number}" snat to {tenant.floating_address};
    oifname "qg-{number}" snat to {tenant.gateway_address}; }}
}}
END
ip link set lo up
ip link set qr-{number} up
ip link set qg-{number} up
ip address add {_ha_address(host)}/18 dev ha-{number}
ip link set ha-{number} up
mkdir -p {_directory(tenant)}
cat > {_directory(tenant)}/keepalived.conf <<END
{configuration(tenant, timing)}
END
"""


def _ha_address(host: Host) -> IPv4Address:
    return IPv4Address("169.254.192.0") + host.place.number


def _directory(tenant: Tenant) -> Path:
    return DISK / "ha_confs" / tenant.router_id


def configuration(tenant: Tenant, timing: Timing) -> str:
    """What keepalived is told, as Neutron's agent would; each router has a network for VRRP of its own, and VRID 1."""
    number = tenant.number
    version = f"    vrrp_version {timing.version}\n" if timing.version != 2 else ""
    return f"""global_defs {{
    router_id neutron
{version}}}
vrrp_instance VR_1 {{
    state BACKUP
    interface ha-{number}
    virtual_router_id 1
    priority 50
    garp_master_delay 60
    nopreempt
    advert_int {timing.advert_s:g}
    track_interface {{
        ha-{number}
    }}
    virtual_ipaddress {{
        169.254.0.1/24 dev ha-{number}
    }}
    virtual_ipaddress_excluded {{
        {tenant.subnet_gateway}/{layout.TENANT_NET.prefixlen} dev qr-{number}
        {tenant.gateway_address}/{layout.EXTERNAL_NET.prefixlen} dev qg-{number}
        {tenant.floating_address}/32 dev qg-{number}
    }}
    virtual_routes {{
        0.0.0.0/0 via {layout.EXTERNAL_GATEWAY.ip} dev qg-{number}
    }}
}}"""


async def _start(host: Host, routers: Sequence[Tenant]) -> None:
    """Start keepalived for every router, as Neutron's agent does: one daemon a namespace, VRRP only."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def start(tenant: Tenant) -> None:
        files = _directory(tenant)
        argv = ["keepalived", "-P", "-f", f"{files}/keepalived.conf", "-p", f"{files}/pid", "-r", f"{files}/pid-vrrp"]
        async with limit:
            await host.machine.run("ip", "netns", "exec", f"qrouter-{tenant.router_id}", *argv)

    async with asyncio.TaskGroup() as group:
        for tenant in routers:
            group.create_task(start(tenant))


def why_missing() -> str | None:
    """One line when keepalived is not there."""
    if shutil.which("keepalived", path="/usr/sbin:/sbin:/usr/bin:/usr/local/sbin"):
        return None
    return "keepalived is not there to compare with:  sudo apt-get install --no-install-recommends keepalived"


__all__ = ["Found", "Measurement", "Timing", "configuration", "main", "why_missing"]
