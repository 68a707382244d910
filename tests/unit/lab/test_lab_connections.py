"""Connections of the lab: which there are, and what became of them."""

from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import msgspec
import pytest
from test_lab_table import result

from gapless.errors import InvalidRequest
from gapless.lab.findings import table
from gapless.lab.findings.result import Timeline
from gapless.lab.machines import layout
from gapless.lab.measuring.connections import MIX, MIXES, Course, Kind, interval_ms_for
from gapless.lab.measuring.conversations import CONVERSATIONS, TransportProtocol
from gapless.lab.measuring.survival import judge, survivals
from gapless.lab.measuring.talking import connection, spread
from gapless.lab.settings import MOST_FLOWS, LabSettings
from gapless.lab.tenants import Tenant
from gapless.observe.console import console

TENANT = Tenant(
    number=1,
    router_id="r1",
    router_name="",
    network_id="",
    vni=1,
    mtu=1450,
    vm_port_id="",
    vm_mac="",
    vm_addresses=(IPv4Address("192.168.10.2"), IPv4Address("192.168.10.3")),
    subnet_gateway=IPv4Address("192.168.10.1"),
    gateway_address=IPv4Address("198.18.0.2"),
    floating_address=IPv4Address("198.18.0.3"),
)


def course(
    kind: Kind = Kind.DOWNLOAD, router: str = "r1", broken: str = "", heard: bool = True, stall: float = 0.0
) -> Course:
    tenant = replace(TENANT, router_id=router)
    return Course(connection=connection(tenant, kind), broken=broken, is_heard=heard, stall_ms=stall)


@pytest.mark.parametrize("routers", [1, 2, 6, 9, 20])
def test_each_router_has_as_many_of_each_kind(routers: int) -> None:
    tenants = [replace(TENANT, number=number, router_id=f"r{number}") for number in range(routers)]
    made = spread(tenants, 2 * len(MIX) * routers)
    for tenant in tenants:
        kinds = [each.kind for each in made if each.router_id == tenant.router_id]
        assert sorted(kinds) == sorted([*Kind] * 2)


@pytest.mark.parametrize("routers", [1, 2, 3, 4, 8])
def test_a_kind_that_is_named_twice_comes_twice_as_often(routers: int) -> None:
    tenants = [replace(TENANT, number=number, router_id=f"r{number}") for number in range(routers)]
    mix = MIXES["tcp-half-downloads"]
    made = spread(tenants, 2 * len(mix) * routers, mix)
    for tenant in tenants:
        kinds = [each.kind for each in made if each.router_id == tenant.router_id]
        assert sorted(kinds) == sorted(mix * 2)


def test_as_many_as_a_lab_has_may_all_be_tcp_and_half_of_them_downloads() -> None:
    tenants = [replace(TENANT, number=number, router_id=f"r{number}") for number in range(100)]
    kinds = Counter(each.kind for each in spread(tenants, MOST_FLOWS, MIXES["tcp-half-downloads"]))
    assert {CONVERSATIONS[kind].protocol for kind in kinds} == {TransportProtocol.TCP}
    assert kinds[Kind.DOWNLOAD] == 2_500
    assert set(kinds.values()) == {2_500, 500}


@pytest.mark.parametrize("routers", [1, 2, 3, 4, 8])
def test_few_connections_are_of_different_kinds(routers: int) -> None:
    tenants = [replace(TENANT, number=number, router_id=f"r{number}") for number in range(routers)]
    assert sorted(each.kind for each in spread(tenants, len(Kind))) == sorted(Kind)


def test_the_vm_opens_from_the_address_without_a_floating_ip_and_the_outside_to_the_one_with() -> None:
    ends = {(str(kind), each.vm.address, each.target) for kind in Kind for each in (connection(TENANT, kind),)}
    floating = {(kind, "192.168.10.2", "198.18.0.3") for kind in ("floating-download", "floating-upload")}
    assert floating <= ends
    assert {end[1:] for end in ends - floating} == {("192.168.10.3", str(layout.FAR_OUTSIDE))}


def test_there_are_none_without_routers_or_when_none_are_wanted() -> None:
    assert spread([], 5) == spread([TENANT], 0) == []


def test_what_is_heard_survived_what_is_silent_stalled_and_what_was_closed_broke() -> None:
    found = judge([course(stall=200), course(stall=400), course(heard=False), course(broken="reset", heard=True)])
    assert (found.connections, found.survived, found.stalled, found.broken, found.lost) == (4, 2, 1, 1, 2)
    assert (found.stall_ms_median, found.stall_ms_max) == (200, 400)


def test_routers_that_were_not_struck_count_apart() -> None:
    found = survivals([course(), course(Kind.IDLE), course(router="r2", heard=False)], ["r1"], synced=True)
    assert {kind for kind, each in found.struck.items() if each.survived} == {"download", "idle"}
    assert found.bystanders.stalled == 1


def test_datagrams_are_summed_and_reasons_counted() -> None:
    lossy = msgspec.structs.replace(course(Kind.UDP), datagrams=50, datagrams_lost=3)
    found = survivals([lossy, lossy, course(broken="reset"), course(broken="reset")], ["r1"], synced=True)
    assert (found.struck["udp"].datagrams, found.struck["udp"].datagrams_lost) == (100, 6)
    assert found.reasons == {"reset": 2}


def test_lines_are_as_many_as_are_bearable() -> None:
    assert (interval_ms_for(10), interval_ms_for(200), interval_ms_for(2000)) == (100, 100, 1000)


def test_the_table_shows_each_kind_what_was_lost_of_it_and_why() -> None:
    lossy = msgspec.structs.replace(course(Kind.UDP, stall=250), datagrams=50, datagrams_lost=3)
    every = [course(stall=200), course(Kind.UPLOAD, heard=False), lossy, course(Kind.REQUEST, broken="reset")]
    shown = msgspec.structs.replace(result(Timeline()), connections=survivals(every, ["r1"], synced=False))
    out = console(width=80)
    with out.capture() as captured:
        for each in table.tables(shown):
            out.print(each)
    rows = [[cell.strip() for cell in line.split("│")][1:-1] for line in captured.get().splitlines() if "│" in line]
    assert ["download", "1", "1", "0", "0", "200", "200"] in rows
    assert ["upload", "1", "0", "1", "0", "0", "0"] in rows
    assert ["udp", "1", "1", "0", "0", "250", "250"] in rows
    assert "their state not copied" in captured.get()
    assert "datagrams lost: udp 3 of 50" in captured.get()
    assert "broken: 1 connection: reset" in captured.get()


def test_too_many_connections_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="0 to 5000 connections"):
        LabSettings(flows=5001)
