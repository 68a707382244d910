"""What building routers costs: N routers on one host, through the agent's own code, as a distribution.

    python bench/build_routers.py --routers 100 --threads 4 [--json out.json]

Re-executes itself in a user namespace of its own, so it needs no root and leaves nothing behind. Each router has one
tenant port (on a VXLAN network of its own), a gateway on one shared flat network, SNAT and one floating IP. A build
ends when the kernel was observed again and nothing differed. The floor is what the kernel takes for the same end
state when nothing is observed, decided, announced or verified: the same requests, sent blindly by one thread.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from uuid import UUID

from gapless.agent.kernel import links, netns, routing, ruleset
from gapless.agent.kernel.observe import Inside
from gapless.agent.reconcile import Outcome, Reconciler
from gapless.config import HostSettings
from gapless.core.dataplane.desired import bridge_name, desired_router
from gapless.kernel.netlink import Netlink
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.observed import KernelRouter, Ruleset, Vxlan
from gapless.model.router import FloatingIp, Gateway, Router, RouterId, RouterPort

INSIDE = "GAPLESS_BENCH_INSIDE"


def router(number: int) -> Router:
    """The router of this number."""
    external = Network(id=NetworkId(_id(1, 0)), type=NetworkType.FLAT, mtu=1500, physical_network="external")
    tenant = Network(id=NetworkId(_id(2, number)), type=NetworkType.VXLAN, mtu=1450, segmentation_id=1000 + number)
    outside = IPv4Address("10.0.0.0") + 2 * number + 10
    inside = RouterPort(
        id=PortId(_id(3, number)),
        network=tenant,
        mac=_mac(3, number),
        addresses=(IPv4Interface("192.168.0.1/24"),),
    )
    gateway = RouterPort(
        id=PortId(_id(4, number)),
        network=external,
        mac=_mac(4, number),
        addresses=(IPv4Interface(f"{outside}/16"),),
    )
    return Router(
        id=RouterId(_id(5, number)),
        name=f"bench-{number}",
        ports=(inside,),
        gateway=Gateway(port=gateway, next_hop=IPv4Address("10.0.0.1"), snat=True),
        floating_ips=(FloatingIp(id=_id(6, number), address=outside + 1, fixed_address=IPv4Address("192.168.0.5")),),
    )


def _id(kind: int, number: int) -> str:
    return str(UUID(int=kind << 120 | number << 96 | number))


def _mac(kind: int, number: int) -> str:
    return f"fa:16:3e:{kind:02x}:{number >> 8:02x}:{number & 255:02x}"


def prepare_host() -> HostSettings:
    """A data interface and an uplink, their other ends hanging loose."""
    for command in (
        "mount -t tmpfs none /run",
        "ip link set lo up",
        "ip link add data0 mtu 1500 type veth peer name data1",
        "ip address add 172.16.0.1/24 dev data0",
        "ip link set data0 up",
        "ip link set data1 up",
        "ip link add ext0 type veth peer name ext1",
        "ip link set ext1 up",
    ):
        subprocess.run(command.split(), check=True, timeout=10)
    return HostSettings(
        name="bench",
        state_dir=Path(tempfile.gettempdir()),
        key_file=Path("/nonexistent"),
        physical_networks=(("external", "ext0"),),
        data_interface="data0",
    )


def measure(reconciler: Reconciler, routers: list[Router], threads: int) -> tuple[float, list[Outcome]]:
    """Wall time in seconds, and each router's outcome."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(reconciler.reconcile, routers))
    return time.perf_counter() - begin, outcomes


def floor_ms(routers: list[Router]) -> float:
    """Milliseconds a router for the bare requests."""
    external = bridge_name(routers[0].gateway.port.network.id) if routers[0].gateway is not None else ""
    plans = [(it, ruleset.render(it), desired_router(it, ruleset.render(it), bridges_of(it))) for it in routers]
    with Netlink() as host:
        host.carry_out([*links.create_bridge(external, "gapless:floor", 1500), links.raise_link(external)])
        outside = links.find(host, [external])[external].index
        data = links.find(host, ["data0"])["data0"].index
        begin = time.perf_counter()
        for it, rules, desired in plans:
            build_blindly(host, it, rules, desired, outside, data)
        return (time.perf_counter() - begin) * 1000 / len(routers)


def bridges_of(it: Router) -> dict[NetworkId, str]:
    """The names of a router's bridges."""
    ports = [*it.ports, *([it.gateway.port] if it.gateway is not None else [])]
    return {port.network.id: bridge_name(port.network.id) for port in ports}


def build_blindly(host: Netlink, it: Router, rules: Ruleset, desired: KernelRouter, outside: int, data: int) -> None:
    """One router, without a question asked."""
    tenant = it.ports[0].network
    bridge, vni = bridge_name(tenant.id), tenant.segmentation_id or 0
    vxlan = Vxlan(
        name=f"vxlan-{vni}",
        vni=vni,
        local=IPv4Address("172.16.0.1"),
        port=4789,
        device="data0",
        group=IPv4Address("239.77.0.1"),
    )
    host.carry_out(links.create_bridge(bridge, "gapless:floor", 1450))
    index = links.find(host, [bridge])[bridge].index
    host.carry_out(
        [
            *links.create_vxlan(vxlan, "gapless:floor", 1450, index, data),
            links.raise_link(vxlan.name),
            links.raise_link(bridge),
        ]
    )
    path = netns.path_of(it.id)
    inside = netns.create(path, desired.settings, Inside.opened)
    ruleset.load(inside.nft, rules, replace=False)
    namespace = os.open(path, os.O_RDONLY)
    taps = {tap.peer: tap for tap in desired.taps.values()}
    pairs = [
        links.create_pair(
            tap=taps[link.name].name,
            mark="gapless:floor",
            bridge_index=index if link.name.startswith("qr-") else outside,
            link=link.name,
            mac=link.mac,
            mtu=link.mtu,
            namespace=namespace,
        )
        for link in desired.links.values()
    ]
    host.carry_out(
        [*(request for pair in pairs for request in pair), *(links.raise_link(it.name) for it in taps.values())]
    )
    indices = {found.name: found.index for found in links.all_links(inside.netlink)}
    held = [(link.name, address) for link in desired.links.values() for address in sorted(link.addresses)]
    inside.netlink.carry_out(
        [
            *(routing.add_address(name, indices[name], address) for name, address in held),
            *(links.raise_link(name) for name in desired.links),
            *(routing.add_route(route, indices.__getitem__) for route in desired.routes),
        ]
    )
    os.close(namespace)
    inside.close()


def percentiles(values_ms: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum, in milliseconds."""
    ordered = sorted(values_ms)
    worst = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {
        "median_ms": round(statistics.median(ordered), 2),
        "p99_ms": round(worst, 2),
        "max_ms": round(ordered[-1], 2),
    }


def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Build, adopt, remove; returns what it cost."""
    reconciler = Reconciler(prepare_host())
    routers = [router(number) for number in range(arguments.routers)]
    build_s, built = measure(reconciler, routers, arguments.threads)
    adopt_s, adopted = measure(reconciler, routers, arguments.threads)
    if any(outcome.changed for outcome in adopted):
        sys.exit("a router that had just been built was changed again")
    begin = time.perf_counter()
    with ThreadPoolExecutor(arguments.threads) as pool:
        list(pool.map(lambda it: reconciler.remove(it.id), routers))
    while reconciler.sweep(()):
        pass
    remove_s = time.perf_counter() - begin
    floor = floor_ms(routers)
    reconciler.close()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, timeout=10
    )
    return {
        "routers": arguments.routers,
        "threads": arguments.threads,
        "build_ms_per_router": round(build_s * 1000 / len(routers), 2),
        "build": percentiles([(it.verified_s - it.started_s) * 1000 for it in built]),
        "floor_ms_per_router": round(floor, 2),
        "adopt_ms_per_router": round(adopt_s * 1000 / len(routers), 2),
        "remove_ms_per_router": round(remove_s * 1000 / len(routers), 2),
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
        "commit": commit.stdout.strip(),
    }


def main() -> None:
    """Parse, enter a user namespace, measure, print."""
    parser = argparse.ArgumentParser(description="what building routers costs")
    parser.add_argument("--routers", type=int, default=100)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if INSIDE not in os.environ:
        unshare = "unshare --user --map-root-user --net --mount --pid --fork --kill-child --mount-proc"
        os.environ[INSIDE] = "1"
        os.execvp("unshare", [*unshare.split(), sys.executable, *sys.argv])
    result = run(arguments)
    for key, value in result.items():
        print(f"{key:22} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
