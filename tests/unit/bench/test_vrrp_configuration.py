"""What keepalived is told for a router, and what is said where it is missing."""

import sys
from pathlib import Path

import pytest

import vrrp
import vrrp_lab
from vrrp_lab import configuration


def test_a_router_is_configured_as_neutron_does() -> None:
    tenant = vrrp_lab._tenant(7)
    said = configuration(tenant, vrrp.TIMINGS["neutron"])
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
    said = configuration(vrrp_lab._tenant(1), vrrp.TIMINGS["vrrp3-10ms"])
    assert "vrrp_version 3\n" in said
    assert "advert_int 0.01\n" in said


def test_every_router_has_addresses_of_its_own() -> None:
    tenants = [vrrp_lab._tenant(number + 1) for number in range(1000)]
    assert len({one.gateway_address for one in tenants} | {one.floating_address for one in tenants}) == 2000
    assert len({vrrp_lab._mac(kind, one.number) for one in tenants for kind in (1, 2, 3, 4, 5)}) == 5000


def test_a_case_that_would_choke_the_machine_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vrrp.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(sys, "argv", ["vrrp.py", "--routers", "50,200", "--timings", "neutron,vrrp3-10ms"])
    assert vrrp._cases(vrrp._options()) == [("neutron", 50), ("vrrp3-10ms", 50), ("neutron", 200)]
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "left out: vrrp3-10ms, 200 routers: 20,000 adverts a second, and this machine carries 5,000"


def test_a_machine_without_keepalived_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(vrrp_lab.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(sys, "argv", ["vrrp.py", "--out", str(tmp_path)])
    assert vrrp.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench/vrrp.py: keepalived is not there")
    assert "apt-get install" in line
