"""What is measured side by side, what is left out, and what becomes of a run that fails."""

import argparse
import sys
from collections import Counter
from pathlib import Path

import pytest

import measuring
import peers
import side_by_side
import survivals
from gapless.errors import InvalidRequest
from gapless.lab.measuring.connections import Kind, kinds_of
from runs import Run
from side_by_side import Gapless, Load

LOAD = Load(interval_ms=1.0)
BENCHES = [(peers, "bench/peers.py"), (survivals, "bench/survivals.py")]


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The programs of peers that this machine has: all, until some are taken away."""
    programs = {"keepalived", "conntrackd"}
    monkeypatch.setattr(measuring.shutil, "which", lambda program, **_: program if program in programs else None)
    return programs


@pytest.mark.usefixtures("there")
def test_a_case_that_would_choke_the_machine_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side.os, "sched_getaffinity", lambda _: {0, 1})
    asked = [(size, system) for size in (50, 200) for system in ("gapless", "keepalived-10ms")]
    cases, left_out = side_by_side.carried(asked, peers.SYSTEMS)
    assert cases == [(50, "gapless"), (50, "keepalived-10ms"), (200, "gapless")]
    said = "20,000 adverts a second, and this machine carries 5,000"
    assert left_out == [f"left out: keepalived-10ms, 200 routers: {said}"]


def test_without_keepalived_gapless_is_measured_alone_and_the_package_is_named(there: set[str]) -> None:
    there.remove("keepalived")
    cases, (line,) = side_by_side.carried(
        [(size, system) for size in (1, 2) for system in peers.SYSTEMS], peers.SYSTEMS
    )
    assert cases == [(1, "gapless"), (1, "gapless-fast"), (2, "gapless"), (2, "gapless-fast")]
    assert "apt-get install --no-install-recommends keepalived" in line
    assert side_by_side.carried([(1, "gapless")], peers.SYSTEMS) == ([(1, "gapless")], [])


def test_without_conntrackd_only_what_needs_it_is_left_out_in_one_line(there: set[str]) -> None:
    there.remove("conntrackd")
    cases, left_out = side_by_side.carried([(1, system) for system in survivals.USUAL], survivals.SYSTEMS)
    assert [system for _, system in cases] == [
        "gapless",
        "gapless-no-flow-sync",
        "keepalived-neutron",
        "keepalived-100ms",
    ]
    said = "conntrackd is not there to compare with:  sudo apt-get install --no-install-recommends conntrackd"
    assert left_out == [f"left out: conntrackd. {said}"]


@pytest.mark.parametrize(("bench", "name"), BENCHES)
def test_nothing_left_to_measure_is_said(
    bench: object,
    name: str,
    there: set[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    there.clear()
    monkeypatch.setattr(sys, "argv", [name, "--systems", "keepalived-100ms", "--out", str(tmp_path)])
    assert bench.main() == 1  # type: ignore[attr-defined]
    said = capsys.readouterr()
    assert "keepalived is not there" in said.out
    assert said.err == f"{name}: nothing is left to be measured\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("bench", "name"), BENCHES)
@pytest.mark.usefixtures("there")
def test_a_machine_without_room_or_leave_is_told_in_one_line(
    bench: object, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(_: object) -> None:
        raise InvalidRequest("too large")

    monkeypatch.setattr(sys, "argv", [name, "--out", str(tmp_path)])
    monkeypatch.setattr(side_by_side.room, "check", lambda _: None)
    monkeypatch.setattr(side_by_side.enter, "why_forbidden", lambda: "no namespaces here")
    assert bench.main() == 1  # type: ignore[attr-defined]
    monkeypatch.setattr(side_by_side.room, "check", refuse)
    assert bench.main() == 1  # type: ignore[attr-defined]
    assert capsys.readouterr().err == f"{name}: no namespaces here\n{name}: too large\n"


@pytest.mark.usefixtures("there")
def test_more_connections_than_a_lab_has_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["bench/survivals.py", "--routers", "10", "--flows", "501", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    assert survivals.main() == 1
    assert capsys.readouterr().err == "bench/survivals.py: a lab has 0 to 5000 connections, not 5010\n"


def test_options_that_mean_nothing_are_refused_with_words() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="there is no system vrrp: gapless, "):
        side_by_side.names_of(peers.SYSTEMS)("gapless,vrrp")
    for word in ("0", "-1", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="not a number from 1 on"):
            side_by_side.sizes(f"1,{word}")


@pytest.mark.parametrize(("routers", "interval_ms"), [(1, 1.0), (50, 10.0), (100, 20.0), (200, 10.0)])
def test_systems_of_one_size_are_probed_alike(routers: int, interval_ms: float) -> None:
    assert peers.interval_ms(routers) == interval_ms


def test_a_run_without_a_result_is_a_problem_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.exit('the lab fell over')"
    with pytest.raises(measuring.NothingMeasuredError, match="fell over") as raised:
        measuring.measured([sys.executable, "-c", code])

    def fail(_: object) -> dict[str, object]:
        raise raised.value

    monkeypatch.setattr(side_by_side, "measured", fail)
    run = side_by_side.measure(peers.SYSTEMS["gapless"], 1, LOAD)
    assert run.problems == ["nothing was measured: the lab fell over"]


def test_a_run_of_keepalived_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends_by(code: str) -> Run:
        monkeypatch.setattr(side_by_side.enter, "command", lambda _, **__: [sys.executable, "-c", code])
        return side_by_side.measure(peers.SYSTEMS["keepalived-100ms"], 1, LOAD)

    assert ends_by("import sys; sys.exit('no such lab')").problems == ["nothing was measured: no such lab"]
    monkeypatch.setattr(side_by_side, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(side_by_side, "TIMEOUT_A_ROUTER_S", 0.0)
    said = "nothing was measured: not measured within 0.1 s"
    assert ends_by("import time; time.sleep(60)").problems == [said]


def test_routers_that_were_elsewhere_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"problems": [], "affected": 1, "gap_ms": {"per_router": {"a": 1.0}}, "double_active_frames": 0}
    monkeypatch.setattr(side_by_side, "measured", lambda _: found)
    run = side_by_side.measure(peers.SYSTEMS["gapless"], 2, LOAD)
    assert run.problems == ["1 of 2 routers were active on the host that was struck"]
    assert list(run.gaps_ms) == [1.0]


def test_gapless_is_asked_for_the_connections_with_copies_or_without() -> None:
    load = Load(interval_ms=10.0, flows=40)
    with_copies, without = (side_by_side.arguments(system, 2, load) for system in (Gapless(), Gapless(flow_sync=False)))
    assert without == [*with_copies[:-1], "--no-flow-sync", "--json"]
    assert with_copies[with_copies.index("--flows") + 1] == "40"
    assert with_copies[with_copies.index("--interval-ms") + 1] == "10"


def test_five_thousand_by_tcp_half_of_them_downloads_are_asked_of_every_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loads: dict[str, Load] = {}

    def measure(system: object, routers: int, load: Load) -> Run:
        loads[f"{system} {routers}"] = load
        return Run.failed("nothing is measured here")

    words = ["--systems", "gapless,keepalived-neutron-conntrackd", "--routers", "100", "--flows", "50"]
    words += ["--kinds", "tcp-half-downloads", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench/survivals.py", *words])
    monkeypatch.setattr(survivals, "carried", lambda asked, _: (asked, []))
    monkeypatch.setattr(survivals, "why_impossible", lambda *_: None)
    monkeypatch.setattr(survivals, "measure", measure)
    assert survivals.main() == 1
    assert len(loads) == 2
    assert {load.flows for load in loads.values()} == {5_000}
    for load in loads.values():
        asked = side_by_side.arguments(Gapless(), 100, load)
        kinds = kinds_of(asked[asked.index("--kinds") + 1])
        assert Kind.UDP not in kinds
        assert Counter(kinds)[Kind.DOWNLOAD] / len(kinds) == 1 / 2


def test_kinds_that_there_are_not_are_refused_with_words() -> None:
    assert side_by_side.kinds("download,udp,download") == (Kind.DOWNLOAD, Kind.UDP, Kind.DOWNLOAD)
    with pytest.raises(argparse.ArgumentTypeError, match="cannot be of 'download,ftp': all, tcp-half-downloads; or"):
        side_by_side.kinds("download,ftp")
