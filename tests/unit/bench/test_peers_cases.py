"""What is measured side by side, what is left out, and what keepalived is told for a router."""

import argparse
import sys
from pathlib import Path

import pytest

import measuring
import peers
import vrrp_lab
from gapless.errors import InvalidRequest
from peers_table import Run
from vrrp_lab import configuration


@pytest.fixture
def with_keepalived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "why_missing", lambda: None)


def test_a_router_is_configured_as_neutron_does() -> None:
    tenant = vrrp_lab._tenant(7)
    said = configuration(tenant, peers.KEEPALIVED["keepalived-neutron"])
    for line in ("state BACKUP", "nopreempt", "advert_int 2", "priority 50", "garp_master_delay 60", "interface ha-7"):
        assert f"    {line}\n" in said
    excluded = said.partition("virtual_ipaddress_excluded {")[2].partition("}")[0].split("\n")
    assert [line.strip() for line in excluded if line.strip()] == [
        "192.168.10.1/24 dev qr-7",
        f"{tenant.gateway_address}/16 dev qg-7",
        f"{tenant.floating_address}/32 dev qg-7",
    ]
    assert "vrrp_version" not in said


def test_less_than_a_second_needs_version_3() -> None:
    said = configuration(vrrp_lab._tenant(1), peers.KEEPALIVED["keepalived-10ms"])
    assert "vrrp_version 3\n" in said
    assert "advert_int 0.01\n" in said


def test_every_router_has_addresses_of_its_own() -> None:
    tenants = [vrrp_lab._tenant(number + 1) for number in range(1000)]
    assert len({one.gateway_address for one in tenants} | {one.floating_address for one in tenants}) == 2000
    assert len({vrrp_lab._mac(kind, one.number) for one in tenants for kind in (1, 2, 3, 4, 5)}) == 5000


@pytest.mark.usefixtures("with_keepalived")
def test_a_case_that_would_choke_the_machine_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.os, "sched_getaffinity", lambda _: {0, 1})
    asked = [(size, system) for size in (50, 200) for system in ("gapless", "keepalived-10ms")]
    cases, left_out = peers.carried(asked)
    assert cases == [(50, "gapless"), (50, "keepalived-10ms"), (200, "gapless")]
    said = "20,000 adverts a second, and this machine carries 5,000"
    assert left_out == [f"left out: keepalived-10ms, 200 routers: {said}"]


def test_without_keepalived_gapless_is_measured_alone_and_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vrrp_lab.shutil, "which", lambda *_, **__: None)
    cases, (line,) = peers.carried([(1, system) for system in peers.SYSTEMS])
    assert cases == [(1, "gapless"), (1, "gapless-fast")]
    assert "apt-get install --no-install-recommends keepalived" in line
    assert peers.carried([(1, "gapless")]) == ([(1, "gapless")], [])


def test_nothing_left_to_measure_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(vrrp_lab.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(sys, "argv", ["peers.py", "--systems", "keepalived-100ms", "--out", str(tmp_path)])
    assert peers.main() == 1
    said = capsys.readouterr()
    assert "keepalived is not there" in said.out
    assert said.err == "bench/peers.py: nothing is left to be measured\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("with_keepalived")
def test_a_machine_without_room_or_leave_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(_: object) -> None:
        raise InvalidRequest("too large")

    monkeypatch.setattr(sys, "argv", ["peers.py", "--out", str(tmp_path)])
    monkeypatch.setattr(peers.room, "check", lambda _: None)
    monkeypatch.setattr(peers.enter, "why_forbidden", lambda: "no namespaces here")
    assert peers.main() == 1
    monkeypatch.setattr(peers.room, "check", refuse)
    assert peers.main() == 1
    assert capsys.readouterr().err == "bench/peers.py: no namespaces here\nbench/peers.py: too large\n"


def test_options_that_mean_nothing_are_refused_with_words() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="there is no system vrrp: gapless, "):
        peers._names("gapless,vrrp")
    for word in ("0", "-1", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="not a number from 1 on"):
            peers._sizes(f"1,{word}")


@pytest.mark.parametrize(("routers", "interval_ms"), [(1, 1.0), (50, 10.0), (100, 20.0), (200, 10.0)])
def test_systems_of_one_size_are_probed_alike(routers: int, interval_ms: float) -> None:
    assert peers.interval_ms(routers) == interval_ms


def test_a_run_without_a_result_is_a_problem_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.exit('the lab fell over')"
    with pytest.raises(measuring.NothingMeasuredError, match="fell over") as raised:
        measuring.measured([sys.executable, "-c", code])

    def fail(_: object) -> dict[str, object]:
        raise raised.value

    monkeypatch.setattr(peers, "measured", fail)
    assert peers._measured((1, "gapless")).problems == ["nothing was measured: the lab fell over"]


def test_a_run_of_keepalived_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        peers.enter, "command", lambda _, **__: [sys.executable, "-c", "import sys; sys.exit('no such lab')"]
    )
    assert peers._measured((1, "keepalived-100ms")).problems == ["nothing was measured: no such lab"]
    monkeypatch.setattr(peers.enter, "command", lambda _, **__: [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(peers, "TIMEOUT_S", 0.1)
    assert peers._measured((1, "keepalived-100ms")).problems == ["nothing was measured: not measured within 0.1 s"]


def test_routers_that_were_elsewhere_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"problems": [], "affected": 1, "gap_ms": {"per_router": {"a": 1.0}}, "double_active_frames": 0}
    monkeypatch.setattr(peers, "measured", lambda _: found)
    run = peers._measured((2, "gapless"))
    assert run.problems == ["1 of 2 routers were active on the host that was struck"]
    assert isinstance(run, Run)
    assert list(run.gaps_ms) == [1.0]
