"""TCP connections of the lab: which there are, and what became of them."""

from dataclasses import replace
from ipaddress import IPv4Address

import msgspec
import pytest
from test_lab_table import result

from gapless.errors import InvalidRequest
from gapless.lab.findings import table
from gapless.lab.findings.result import Timeline
from gapless.lab.measuring.connections import (
    RTO_MS,
    Connection,
    Course,
    Kind,
    interval_ms_for,
    judge,
    pause_ms,
    stall_ms_most,
    survivals,
)
from gapless.lab.measuring.talker import LAST_WORDS_S
from gapless.lab.measuring.talking import spread
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
    connection = Connection(router_id=router, kind=kind, netns="vm-1", source="192.168.10.3")
    return Course(connection=connection, broken=broken, is_heard=heard, stall_ms=stall)


@pytest.mark.parametrize("routers", [1, 2, 6, 9, 20])
def test_each_router_has_as_many_downloads_as_all_else(routers: int) -> None:
    tenants = [replace(TENANT, number=number, router_id=f"r{number}") for number in range(routers)]
    made = spread(tenants, 8 * routers)
    for tenant in tenants:
        kinds = [each.kind for each in made if each.router_id == tenant.router_id]
        assert sorted(kinds) == sorted([Kind.DOWNLOAD] * 4 + [Kind.UPLOAD] * 2 + [Kind.IDLE] * 2)
    assert {each.source for each in made} == {"192.168.10.3"}, "the address without a floating IP"


def test_there_are_none_without_routers_or_when_none_are_wanted() -> None:
    assert spread([], 5) == spread([TENANT], 0) == []


def test_what_is_heard_survived_what_is_silent_stalled_and_what_was_closed_broke() -> None:
    found = judge([course(stall=200), course(stall=400), course(heard=False), course(broken="reset", heard=True)])
    assert (found.connections, found.survived, found.stalled, found.broken, found.lost) == (4, 2, 1, 1, 2)
    assert (found.stall_ms_median, found.stall_ms_max) == (200, 400)


def test_routers_that_were_not_struck_count_apart() -> None:
    found = survivals([course(), course(Kind.IDLE), course(router="r2", heard=False)], ["r1"], synced=True)
    assert {kind: each.survived for kind, each in found.struck.items()} == {"download": 1, "upload": 0, "idle": 1}
    assert found.bystanders.stalled == 1


def test_lines_are_as_many_as_are_bearable() -> None:
    assert (interval_ms_for(10), interval_ms_for(200), interval_ms_for(2000)) == (100, 100, 1000)


def test_an_idle_connection_speaks_seldom_and_is_heard_before_the_end() -> None:
    assert [pause_ms(Kind.IDLE, interval_ms) for interval_ms in (100, 1000, 2500)] == [1000, 10_000, 10_000]
    assert pause_ms(Kind.UPLOAD, 100) == 100
    assert pause_ms(Kind.IDLE, interval_ms_for(MOST_FLOWS)) / 1000 < LAST_WORDS_S


@pytest.mark.parametrize("gap_ms", [0, 1, 180, 200, 201, 599, 601, 3000, 60_000])
def test_the_retransmission_that_follows_a_gap_is_never_later_than_is_allowed(gap_ms: float) -> None:
    """With or without a tail loss probe before the first one, which is sent again after the same time."""
    for probed_ms in (0.0, RTO_MS):
        at_ms, wait_ms = probed_ms, RTO_MS
        while at_ms < gap_ms:
            at_ms, wait_ms = at_ms + wait_ms, 2 * wait_ms
        assert 100 + at_ms <= stall_ms_most(Kind.DOWNLOAD, 100, gap_ms)


def test_the_table_shows_each_kind() -> None:
    found = survivals([course(stall=200), course(Kind.UPLOAD, heard=False)], ["r1"], synced=False)
    shown = msgspec.structs.replace(result(Timeline()), connections=found)
    out = console(width=200)
    with out.capture() as captured:
        for each in table.tables(shown):
            out.print(each)
    rows = [[cell.strip() for cell in line.split("│")][1:-1] for line in captured.get().splitlines() if "│" in line]
    assert ["download", "1", "1", "0", "0", "200", "200"] in rows
    assert ["upload", "1", "0", "1", "0", "0", "0"] in rows
    assert "their state not copied" in captured.get()


def test_too_many_connections_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="0 to 5000 connections"):
        LabSettings(flows=5001)
