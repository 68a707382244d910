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
from gapless.cli import lab, main
from gapless.errors import InvalidRequest
from gapless.lab import faults
from gapless.lab.faults import FAULTS
from gapless.lab.findings.result import Spread, TakeoverTimeline
from gapless.lab.measuring.probes import MAX_PROBES_PER_S
from gapless.lab.rounds import Round, Rounds
from gapless.lab.runner import RunRequest
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
        settings = LabSettings(
            hosts=case.hosts,
            routers=case.routers,
            timing=case.timing,
            interval_ms=case.interval_ms,
            flows=case.flows,
            at_once=case.at_once,
            probed=case.probed or MOST_PROBED,
            one_way=case.one_way,
        )
        assert case.argv[-1] == "--json"
        for fault in case.faults:
            faults.check(settings, fault)


def asked_of(case: Case, file: Path, monkeypatch: pytest.MonkeyPatch) -> RunRequest:
    """What `gapless` makes of a case's words."""
    asked: list[RunRequest] = []

    def begun(_: object, request: RunRequest) -> tuple[int, None]:
        asked.append(request)
        return 1, None

    monkeypatch.setattr(lab, "_run_once", begun)
    monkeypatch.setattr(sys, "argv", ["gapless", *case.argv, str(file)])
    with pytest.raises(SystemExit):
        main.main()
    return asked[0]


@pytest.mark.parametrize("name", ["power-1", "power-100-fast", "drain-100", "every"])
def test_what_is_asked_of_the_lab_is_the_case(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.room, "check", lambda *_, **__: None)
    case = CASES[name]
    found = asked_of(case, tmp_path / "found.json", monkeypatch)
    assert (found.faults, found.rounds, found.hold_s) == (case.faults, case.rounds, case.hold_s)
    asked = found.settings
    assert (asked.hosts, asked.routers, asked.timing) == (case.hosts, case.routers, case.timing)
    assert (asked.probed, asked.one_way) == (case.probed or MOST_PROBED, case.one_way)
    assert (asked.interval_ms, asked.flows, asked.packed) == (case.interval_ms, case.flows, case.packed)


def test_gaps_of_a_host_without_power_are_known_to_10_ms_by_no_more_probes_than_are_bearable() -> None:
    cases = [case for case in CASES.values() if "power" in case.faults[0]]
    assert {case.routers for case in cases} == {1, 100, 1000}
    for case in cases:
        probed = min(case.routers, case.probed or MOST_PROBED)
        flows = probed if case.one_way or probed < case.routers else 2 * probed
        assert probed == min(case.routers, 100)
        assert case.interval_ms <= 10
        assert flows * 1000 / case.interval_ms <= MAX_PROBES_PER_S


def test_of_every_fault_only_what_the_lab_says_is_judged() -> None:
    """Some stop all hosts, of others nobody may notice anything: the lab knows which."""
    case = replace(CASES["every"], rounds=1)
    found = [one(1, 0, 0, fault=fault) for fault in case.faults[:-1]]
    long = document(*found, one(1, 30_000, 40_000, fault=case.faults[-1]))
    assert wrong("every", case, long) == []
    rows = [line for line in table({"every": (case, long)}, []).splitlines() if line.startswith("| every |")]
    assert [row.split(" | ")[1] for row in rows] == list(case.faults)
    bad = document(*found, one(1, 0, 0, ok=False, fault=case.faults[-1]))
    assert wrong("every", case, bad) == [f"every, round 1, {case.faults[-1]}: it took too long"]


@pytest.mark.parametrize(("rounds", "minutes"), [(None, 9), (13, 9), (5, 9), (25, 18), (50, 35)])
def test_more_rounds_than_a_cases_own_have_more_time(
    rounds: int | None, minutes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (CASES["cut"].rounds, CASES["cut"].minutes) == (13, 9)
    asked = [] if rounds is None else ["--rounds", str(rounds)]
    monkeypatch.setattr(sys, "argv", ["takeover.py", "cut", *asked])
    case = takeover._adjusted(CASES["cut"], takeover._options())
    assert (case.rounds, case.minutes) == (rounds or 13, minutes)


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


def cells_of(case: Case, found: dict[str, Any]) -> dict[str, str]:
    """The only row, by the heads of its columns."""
    head, row = (line for line in table({"power": (case, found)}, []).splitlines() if line.startswith(("| c", "| p")))
    return dict(zip(*([cell.strip() for cell in line.split("|")[1:-1]] for line in (head, row)), strict=True))


def test_how_long_the_last_router_took_is_told_of_all_rounds_by_the_hosts_clocks() -> None:
    found = document(one(1, 200, 250), one(2, 200, 250))
    for each, most in zip(found["rounds"], (176.0, 188.8), strict=True):
        whole = Spread(median=171, p99=most - 1, max=most)
        each["result"]["timeline"]["takeover"] = msgspec.to_builtins(TakeoverTimeline(whole=whole))
    cells = cells_of(CASE, found)
    assert (cells["in all"], cells["in all, last router"]) == ("171", "182.4 (176.0 to 188.8)")
    assert cells_of(CASE, document(one(1, 200, 250), one(2, 200, 250)))["in all, last router"] == "–"


def test_through_how_many_routers_probes_went_and_how_many_were_skipped_is_told() -> None:
    found = document(one(1, 200, 250), one(2, 200, 250))
    assert (cells_of(CASE, found)["probed"], cells_of(CASE, found)["skipped, %"]) == ("2, both ways", "0")
    for each, skipped in zip(found["rounds"], (0, 250), strict=True):
        each["result"]["probes"] |= {"routers": 100, "flows": 100, "sent": 1000 - skipped, "skipped": skipped}
    cells = cells_of(CASE, found)
    assert (cells["probed"], cells["skipped, %"]) == ("100, one way", "12.5 (0.0 to 25.0)")


def test_takeovers_of_hosts_that_live_are_told_and_make_a_round_wrong() -> None:
    found = document(one(1, 200, 250))
    found["rounds"][0]["result"]["taken_over_before"] = 165
    case = replace(CASE, rounds=1)
    said = "165 routers had been taken over before it, while nothing was broken"
    assert wrong("power", case, found) == [f"power, round 1, host-power: {said}"]
    (line,) = [line for line in table({"power": (case, found)}, []).splitlines() if line.startswith("| power |")]
    assert "| 165 |" in line
    assert line.endswith("| 0 of 1 |")
