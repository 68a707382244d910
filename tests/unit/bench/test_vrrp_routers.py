"""What keepalived and conntrackd are told for a router, and what is made of what conntrackd says."""

from ipaddress import IPv4Address
from pathlib import Path

import conntrackd
import vrrp_routers
from gapless.lab.machines.layout import Place
from gapless.lab.machines.nodes import Host
from gapless.lab.measuring.connections import PORT
from gapless.lab.settings import LabSettings
from keepalived import configuration
from side_by_side import EACH_10_MS, EACH_100_MS, NEUTRON
from vrrp_routers import Peer

FILES = Path("/run/gapless/ha_confs/r")


def test_a_router_is_configured_as_neutron_does() -> None:
    tenant = vrrp_routers.tenant_of(7)
    said = configuration(tenant, NEUTRON)
    for line in ("state BACKUP", "nopreempt", "advert_int 2", "priority 50", "garp_master_delay 60", "interface ha-7"):
        assert f"    {line}\n" in said
    excluded = said.partition("virtual_ipaddress_excluded {")[2].partition("}")[0].split("\n")
    assert [line.strip() for line in excluded if line.strip()] == [
        "192.168.10.1/24 dev qr-7",
        f"{tenant.gateway_address}/16 dev qg-7",
        f"{tenant.floating_address}/32 dev qg-7",
    ]
    for word in ("vrrp_version", "notify"):
        assert word not in said


def test_less_than_a_second_needs_version_3() -> None:
    said = configuration(vrrp_routers.tenant_of(1), EACH_10_MS)
    assert "vrrp_version 3\n" in said
    assert "advert_int 0.01\n" in said


def test_each_state_is_told_to_who_reads_them() -> None:
    said = configuration(vrrp_routers.tenant_of(1), NEUTRON, FILES / conntrackd.FIFO)
    assert f"    vrrp_notify_fifo {FILES}/states\n" in said.partition("vrrp_instance")[0]
    assert said.count("{") == said.count("}")


def test_every_router_has_addresses_of_its_own() -> None:
    tenants = [vrrp_routers.tenant_of(number + 1) for number in range(1000)]
    assert len({one.gateway_address for one in tenants} | {one.floating_address for one in tenants}) == 2000
    assert len({vrrp_routers.mac(kind, one.number) for one in tenants for kind in (1, 2, 3, 4, 5)}) == 5000


def test_conntrackd_speaks_on_the_routers_own_network_and_not_of_itself() -> None:
    said = conntrackd.configuration(FILES, "ha-7", IPv4Address("169.254.192.2"))
    assert said.count("{") == said.count("}")
    channel = said.partition("Multicast Default {")[2]
    for line in ("IPv4_interface 169.254.192.2", "Interface ha-7"):
        assert f"        {line}\n" in channel
    assert "            IPv4_address 169.254.192.2\n" in said.partition("Address Ignore {")[2].partition("}")[0]
    assert "Mode FTFW {" in said


def test_the_control_socket_has_room_for_its_path_with_every_router() -> None:
    """conntrackd takes 107 characters (UNIX_PATH_MAX)."""
    files = vrrp_routers.directory(vrrp_routers.tenant_of(1000))
    path = next(
        line.split()[1]
        for line in conntrackd.configuration(files, "ha-1000", IPv4Address("169.254.192.2")).splitlines()
        if line.split()[:1] == ["Path"]
    )
    assert len(path) <= 107


def test_a_new_master_commits_before_it_forgets() -> None:
    lines = [line.strip() for line in conntrackd.script(FILES).splitlines()]
    assert "MASTER) tell -c -f -R -B ;;" in lines


def test_only_a_router_with_conntrackd_has_what_that_needs() -> None:
    host, tenant = Host(Place(1), LabSettings(hosts=2, routers=0)), vrrp_routers.tenant_of(1)
    plain = vrrp_routers._inside(host, tenant, Peer(timing=EACH_100_MS))
    beside = vrrp_routers._inside(host, tenant, Peer(timing=EACH_100_MS, conntrackd=True))
    for word in ("conntrack", "early", "notify"):
        assert word not in plain
    assert "> /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal" in beside
    assert conntrackd.RULES in beside
    assert "for order; do conntrackd -C" in beside, "no shell has read the script on its way"
    assert vrrp_routers._daemons(tenant, Peer(timing=NEUTRON)).split()[0] == "keepalived"


def listed(*connections: tuple[str, int], router: str) -> str:
    """As `conntrackd -e` has it."""
    lines = [
        f"tcp      6 {state} src=192.168.10.11 dst=198.51.100.10 sport={port} dport={PORT} "
        f"src=198.51.100.10 dst=198.18.1.2 sport={PORT} dport={port} [ASSURED] [active since 2s]"
        for state, port in connections
    ]
    return "\n".join([f"router {FILES.parent}/{router}", *lines, ""])


def test_connections_of_two_routers_are_two_though_their_addresses_are_the_same() -> None:
    said = listed(("ESTABLISHED", 1), ("ESTABLISHED", 2), router="a") + listed(("ESTABLISHED", 1), router="b")
    assert conntrackd.told(said) == 3


def test_what_is_told_twice_or_is_over_is_not_counted_again() -> None:
    assert conntrackd.told(listed(("ESTABLISHED", 1), ("ESTABLISHED", 1), ("TIME_WAIT", 2), router="a")) == 1
    assert conntrackd.told(listed(router="a")) == 0
    assert conntrackd.told("") == 0
