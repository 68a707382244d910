"""Addresses that do not collide, and settings that are refused with words."""

from itertools import combinations
from pathlib import Path

import pytest

from gapless.errors import InvalidRequest
from gapless.lab import faults, settings
from gapless.lab.machines import layout, room
from gapless.lab.machines.layout import Place
from gapless.lab.machines.nodes import Controller
from gapless.lab.settings import LabSettings, mode_of
from gapless.model.router import FailoverMode


def test_every_node_has_its_own_address() -> None:
    places = [Place(n + 1) for n in range(layout.MOST_HOSTS)]
    management = {place.mgmt_address.ip for place in places} | {layout.CONTROLLER_ADDRESS, layout.LAB_ADDRESS.ip}
    data = {place.data_address.ip for place in places} | {layout.COMPUTE_ADDRESS.ip}
    assert len(management) == layout.MOST_HOSTS + 2
    assert len(data) == layout.MOST_HOSTS + 1
    assert management < set(layout.MGMT_NET.hosts())


def test_the_networks_do_not_overlap() -> None:
    networks = (layout.MGMT_NET, layout.DATA_NET, layout.EXTERNAL_NET, layout.TENANT_NET)
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))
    assert not any(layout.FAR_OUTSIDE in network for network in networks)


def test_names_of_switch_ends_fit_an_interface() -> None:
    cables = [cable for number in (1, layout.MOST_HOSTS) for cable in Place(number).cables]
    assert all(len(cable.port) <= 15 for cable in cables)
    assert len({cable.port for cable in cables}) == len(cables)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"hosts": 0}, "1 to"),
        ({"hosts": 5000}, "1 to"),
        ({"routers": -1}, "0 to"),
        ({"interval_ms": 0.1}, "each 1 ms or slower"),
        ({"timing": "leisurely"}, "there is no timing 'leisurely': default"),
        ({"kinds": ()}, "of one kind at least"),
        ({"standbys": 4}, "1 to 3 standbys, not 4"),
        ({"report_interval_s": 2.0, "agent_down_time_s": 3.0}, "at least twice"),
    ],
)
def test_what_cannot_be_is_refused_with_words(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        LabSettings(**wrong)  # type: ignore[arg-type]  # the table holds several types


def test_a_lab_too_large_for_the_machine_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    limit = tmp_path / "gc_thresh3"
    limit.write_text("1024\n")
    room.check(LabSettings(routers=100), limit)
    with pytest.raises(InvalidRequest, match=r"sysctl -w net\.ipv4\.neigh"):
        room.check(LabSettings(routers=250), limit)
    with pytest.raises(InvalidRequest, match="1053 entries"):
        room.check(LabSettings(routers=100), limit, rounds=2)


def test_more_connections_than_a_process_may_have_are_refused_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(room.resource, "getrlimit", lambda _: (1024, 4096))
    limit = tmp_path / "not-told"
    room.check(LabSettings(routers=100, flows=1900), limit)
    with pytest.raises(InvalidRequest, match=r"5,000 connections would need 10200 open files .* ulimit -n 10200"):
        room.check(LabSettings(routers=100, flows=5000), limit)
    monkeypatch.setattr(room.resource, "getrlimit", lambda _: (1024, room.resource.RLIM_INFINITY))
    room.check(LabSettings(routers=100, flows=5000), limit)


def test_an_unknown_fault_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="host-power"):
        faults.kind_of("earthquake")


def test_a_failover_mode_that_is_not_there_is_answered_with_those_that_are() -> None:
    assert mode_of("off") is FailoverMode.OFF
    with pytest.raises(InvalidRequest, match="there is no failover mode 'sideways': standby, reschedule, off"):
        mode_of("sideways")


def test_a_timing_is_what_it_adds_to_the_command_line_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TIMINGS", {"default": (), "brisk": ("--pace", "brisk")})
    with_it = Controller(LabSettings(timing="brisk")).server.argv
    assert [each for each in with_it if each not in Controller(LabSettings()).server.argv] == ["--pace", "brisk"]


def test_more_standbys_than_one_are_asked_of_the_server() -> None:
    assert LabSettings().server_options == ()
    assert LabSettings(standbys=2).server_options == ("--standbys", "2")
