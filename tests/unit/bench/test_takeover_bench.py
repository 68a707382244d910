"""What is asked of the lab, and what is made of what it says: bounds, bad rounds, labs that end too early."""

import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import measuring
import neighbours
import takeover
from gapless.errors import InvalidRequest
from gapless.lab.faults import FAULTS
from gapless.lab.measuring.probes import MAX_PROBES_PER_S
from gapless.lab.rounds import Round, Rounds
from gapless.lab.settings import MOST_PROBED, LabSettings
from lab_results import measured
from takeover_cases import CASES, USUAL, Case
from takeover_table import figures, table, wrong

CASE = Case(faults=("host-power",), routers=6, minutes=1, rounds=2, most_ms=300)


def document(*rounds: Round, broken: str = "") -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(Rounds(rounds=list(rounds), broken=broken).summed())
    return found


def one(number: int, median: float, most: float, *, ok: bool = True, fault: str = "host-power") -> Round:
    return Round(number=number, fault=fault, result=measured(median, most, ok=ok))


def test_every_case_can_be_asked_for() -> None:
    assert set(USUAL) <= set(CASES)
    for name, case in CASES.items():
        assert set(case.faults) <= set(FAULTS), name
        LabSettings(
            hosts=case.hosts,
            routers=case.routers,
            timing=case.timing,
            interval_ms=case.interval_ms,
            flows=case.flows,
            at_once=case.at_once,
            probed=case.probed or MOST_PROBED,
        )
        assert case.argv[-1] == "--json"


def test_gaps_of_a_host_without_power_are_known_to_10_ms_by_no_more_probes_than_are_bearable() -> None:
    cases = [case for case in CASES.values() if "power" in case.faults[0]]
    assert {case.routers for case in cases} == {1, 100, 1000}
    for case in cases:
        most = case.probed or MOST_PROBED
        flows = 2 * case.routers if case.routers <= most else most
        assert case.interval_ms <= 10
        assert flows * 1000 / case.interval_ms <= MAX_PROBES_PER_S


def test_rounds_connections_and_pace_may_be_others_than_a_cases_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["takeover.py", "drain-100", "--flows", "60", "--at-once", "16"])
    case = takeover._adjusted(CASES["drain-100"], takeover._options())
    assert (case.rounds, case.flows, case.at_once) == (CASES["drain-100"].rounds, 60, 16)


def test_a_gap_longer_than_the_case_allows_is_a_problem() -> None:
    found = document(one(1, 200, 300), one(2, 200, 301))
    assert wrong("power", CASE, found) == ["power, round 2, host-power: a gap was 301 ms, and may be 300 ms"]
    assert wrong("power", CASE, document(one(1, 200, 300), one(2, 200, 250))) == []


def test_a_round_that_missed_a_bound_is_not_called_ok() -> None:
    slow = {"power": (CASE, document(one(1, 200, 300), one(2, 200, 301)))}
    assert table(slow, []).count("| 1 of 2 |") == 1
    harmless = Case(faults=("arbiter-kill",), routers=6, minutes=1, rounds=1, loses_none=True)
    assert "| 0 of 1 |" in table({"harmless": (harmless, document(one(1, 0, 0, fault="arbiter-kill")))}, [])


def test_what_must_lose_nothing_and_lost_something_is_a_problem() -> None:
    case = Case(faults=("arbiter-kill",), routers=6, minutes=1, rounds=1, loses_none=True)
    found = document(one(1, 0, 0, fault="arbiter-kill"))
    assert wrong("harmless", case, found) == [
        "harmless, round 1, arbiter-kill: 30 probes were lost, and none may be",
    ]


def test_bad_rounds_and_missing_ones_are_told() -> None:
    found = document(Round(number=1, fault="host-power", problem="nobody answers"), broken="host-2 does not start")
    assert wrong("power", CASE, found) == [
        "power: host-2 does not start",
        "power, round 1, host-power: nothing was measured: nobody answers",
        "power: 1 rounds of 2 are missing",
    ]


def test_the_table_has_a_line_for_each_fault_and_names_what_is_wrong() -> None:
    found = {"power": (CASE, document(one(1, 200, 210), one(2, 180, 400, ok=False)))}
    said = table(found, ["By a machine."])
    (line,) = [line for line in said.splitlines() if line.startswith("| power |")]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[:10] == [
        "power",
        "host-power",
        "default",
        "6",
        "2 of 2",
        "2",
        "190.0 (180.0 to 200.0)",
        "305.0 (210.0 to 400.0)",
        "300",
        "400",
    ]
    assert cells[-3:] == ["60", "0", "1 of 2"]
    assert "- power, round 2, host-power: a gap was 400 ms, and may be 300 ms" in said
    nothing = table({"power": (CASE, document(broken="nothing was measured"))}, [])
    assert "| power | host-power | default | 6 | 0 of 2 | – |" in nothing


def test_the_file_has_every_round_without_each_router() -> None:
    (found,) = figures({"power": (CASE, document(one(1, 200, 210)))})
    assert (found["case"], found["faults"], found["most_ms"]) == ("power", ("host-power",), 300)
    assert "per_router" not in found["rounds"][0]["result"]["gap_ms"]


def test_a_lab_that_says_nothing_is_a_case_without_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover.sys, "executable", "/bin/false")
    found = takeover.lab_run(CASE)
    assert found["rounds"] == []
    assert found["broken"].startswith("nothing was measured: ")


def test_a_single_experiment_is_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    single = msgspec.to_builtins(measured(200, 210))
    monkeypatch.setattr(takeover, "measured", lambda *_: single)
    found = takeover.lab_run(CASE)
    assert [each["result"] for each in found["rounds"]] == [single]
    assert figures({"hogs": (CASE, found)})


def test_whoever_takes_too_long_is_asked_to_end_and_what_it_wrote_by_then_counts() -> None:
    code = (
        "import signal, sys, pathlib\n"
        "def end(*_):\n    pathlib.Path(sys.argv[1]).write_text('[1]'); sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('at it', flush=True)\n"
        "signal.pause()\n"
    )
    heard: list[str] = []
    assert measuring.measured([sys.executable, "-c", code], 2.0, heard.append) == [1]
    assert heard == ["at it"]


def test_limits_are_raised_for_the_largest_lab_and_set_back(tmp_path: Path) -> None:
    for name, limit in (("gc_thresh2", 512), ("gc_thresh3", 1024)):
        (tmp_path / name).write_text(f"{limit}\n")

    def limits() -> list[int]:
        return [int((tmp_path / name).read_text()) for name in ("gc_thresh2", "gc_thresh3")]

    with neighbours.raised(LabSettings(routers=1000), tmp_path):
        assert limits() == [6053, 12106]
    assert limits() == [512, 1024]
    with suppress(KeyboardInterrupt), neighbours.raised(LabSettings(routers=100), tmp_path):
        assert limits() == [653, 1306]
        raise KeyboardInterrupt
    assert limits() == [512, 1024]


def test_a_table_that_was_full_is_counted_over_all_cores(tmp_path: Path) -> None:
    file = tmp_path / "arp_cache"
    assert neighbours.times_full(file) == 0
    file.write_text("entries  allocs table_fulls\n00000419 00000001 0000968b\n00000419 00000002 000040f8\n")
    assert neighbours.times_full(file) == 0x968B + 0x40F8


def test_one_host_raises_them_only_if_asked(tmp_path: Path) -> None:
    for name in ("gc_thresh2", "gc_thresh3"):
        (tmp_path / name).write_text("1024\n")
    before = signal.getsignal(signal.SIGTERM)
    with neighbours.raised_if(False, 1000, tmp_path):
        assert (tmp_path / "gc_thresh3").read_text() == "1024\n"
        assert signal.getsignal(signal.SIGTERM) is before
    try:
        with neighbours.raised_if(True, 1000, tmp_path):
            assert int((tmp_path / "gc_thresh3").read_text()) > 6000
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert int((tmp_path / "gc_thresh3").read_text()) == 1024


def test_sizes_for_which_the_table_was_full_are_named() -> None:
    assert neighbours.fullness({100: 0, 1000: 0}) == "This machine had room for all neighbours."
    assert neighbours.fullness({100: 0, 1000: 1234}) == (
        "With 1,000 routers this machine's table of neighbours was full 1,234 times (--raise-neighbour-limits)."
    )


def test_limits_that_may_not_be_set_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "gc_thresh2").write_text("512")
    (tmp_path / "gc_thresh3").symlink_to("/proc/sys/kernel/cap_last_cap")  # a number that nobody may set
    with (
        pytest.raises(InvalidRequest, match="gc_thresh3 cannot be set to 12106: "),
        neighbours.raised(LabSettings(hosts=3, routers=1000), tmp_path),
    ):
        pass
    assert (tmp_path / "gc_thresh2").read_text() == "512"


def test_takeovers_of_hosts_that_live_are_told_and_make_a_round_wrong() -> None:
    found = document(one(1, 200, 250))
    found["rounds"][0]["result"]["taken_over_before"] = 165
    case = replace(CASE, rounds=1)
    said = "165 routers had been taken over before it, while nothing was broken"
    assert wrong("power", case, found) == [f"power, round 1, host-power: {said}"]
    (line,) = [line for line in table({"power": (case, found)}, []).splitlines() if line.startswith("| power |")]
    assert "| 165 |" in line
    assert line.endswith("| 0 of 1 |")
