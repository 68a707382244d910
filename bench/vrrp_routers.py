"""Routers as Neutron builds them for high availability, in the lab: namespaces, interfaces, NAT, and their processes.

Each router is a namespace on both hosts, with the same MAC addresses on both: `qr-` on the tenant's network, `qg-` on
the external one, `ha-` on a network of the router's own for VRRP. One keepalived for each holds the addresses and the
default route; where it is asked for, one conntrackd for each tells the other host's of its connections.

SNAT keeps ports where they are free: what Neutron adds (`random-fully`) would end every connection that a host does not
know.
"""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from pathlib import Path

import msgspec

import conntrackd
import keepalived
from gapless.config import VXLAN_PORT, HostSettings
from gapless.lab.machines import layout, shell
from gapless.lab.machines.machine import DISK
from gapless.lab.machines.nodes import Host
from gapless.lab.tenants import Tenant
from keepalived import Timing

FIRST_VNI, FIRST_HA_VNI = 1_000, 100_000
AT_ONCE = 4
DIRECTORY = DISK / "ha_confs"
"""On a host: a directory for each router's files."""
_GROUP = HostSettings.__dataclass_fields__["vxlan_group"].default


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """What runs for each router: a keepalived of this timing, and beside it a conntrackd or none."""

    timing: Timing
    conntrackd: bool = False


def mac(kind: int, number: int) -> str:
    """Of a router's port; kind 1 is its VM's, 2 and 3 are `qr-` and `qg-` on every host, from 4 on `ha-`, by host."""
    return f"fa:16:3e:{kind:02x}:{number >> 8:02x}:{number & 0xFF:02x}"


def tenant_of(number: int) -> Tenant:
    """The tenant of this number, from 1 on, as the lab knows those that the API made."""
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
        vm_mac=mac(1, number),
        vm_addresses=(inside + 10, inside + 11),
        subnet_gateway=inside + 1,
        gateway_address=external,
        floating_address=external + 1,
    )


async def build(host: Host, routers: Sequence[Tenant], peer: Peer) -> None:
    """Namespaces, interfaces, NAT and configuration of all routers on one host; nothing runs there yet."""
    await shell.ip([*_external(), *(line for one in routers for line in _networks(host, one))], inside=host.inside())
    await _in_each(host, routers, lambda tenant: _inside(host, tenant, peer))


async def start(host: Host, routers: Sequence[Tenant], peer: Peer) -> None:
    """Start each router's daemons, as Neutron's agent does: a keepalived for VRRP only, and before it a conntrackd."""
    await _in_each(host, routers, lambda tenant: _daemons(tenant, peer))


async def _in_each(host: Host, routers: Sequence[Tenant], script: Callable[[Tenant], str]) -> None:
    """Run a shell script in every router's namespace, in some at once. Raises Unavailable for the first that fails."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def inside(tenant: Tenant) -> None:
        namespace = f"qrouter-{tenant.router_id}"
        async with limit:
            await host.machine.run("ip", "netns", "exec", namespace, "sh", "-e", given=script(tenant))

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
            f"link add {tap} type veth peer name {name}-{number} address {mac(kind, number)} "
            f"netns qrouter-{tenant.router_id}",
            f"link set {tap} master {bridge} up",
        ]
    return lines


def _inside(host: Host, tenant: Tenant, peer: Peer) -> str:
    """A shell script for the router's namespace."""
    number, files, (floating, _) = tenant.number, directory(tenant), tenant.vm_addresses
    notify = files / conntrackd.FIFO if peer.conntrackd else None
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
mkdir -p {files}
{_file(files / "keepalived.conf", keepalived.configuration(tenant, peer.timing, notify))}
{_with_conntrackd(host, tenant) if peer.conntrackd else ""}"""


def _with_conntrackd(host: Host, tenant: Tenant) -> str:
    """What else a router's namespace needs for it."""
    files = directory(tenant)
    configuration = conntrackd.configuration(files, f"ha-{tenant.number}", _ha_address(host))
    return f"""
echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal
nft -f - <<END
{conntrackd.RULES}
END
{_file(files / conntrackd.CONFIGURATION, configuration)}
{_file(files / conntrackd.SCRIPT, conntrackd.script(files))}
chmod +x {files / conntrackd.SCRIPT}
"""


def _file(path: Path, content: str) -> str:
    """A shell command that writes it."""
    return f"cat > {path} <<'END'\n{content}\nEND"


def _ha_address(host: Host) -> IPv4Address:
    return IPv4Address("169.254.192.0") + host.place.number


def directory(tenant: Tenant) -> Path:
    """A router's files, on each of its hosts."""
    return DIRECTORY / tenant.router_id


def _daemons(tenant: Tenant, peer: Peer) -> str:
    files = directory(tenant)
    first = conntrackd.start(files) if peer.conntrackd else ""
    return f"{first}\nkeepalived -P -f {files}/keepalived.conf -p {files}/pid -r {files}/pid-vrrp\n"
