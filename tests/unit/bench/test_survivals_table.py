"""The table of connections: sums over runs, stalls of those that survived only, and runs that say nothing."""

from typing import Any

import msgspec

from gapless.lab.measuring.connections import MIX, MIXES, Kind
from gapless.lab.measuring.survival import Survival, Survivals
from runs import Run
from survivals_table import how_it_went, survival, table

VERSIONS = {"gapless": "0", "python": "3", "kernel": "6", "cores": 2, "processor": "P"}


def run(*gaps_ms: float, problems: tuple[str, ...] = (), **struck: Survival) -> Run:
    """What is not named of the kinds had no connections."""
    kinds = {kind.value: struck.get(kind.value, Survival()) for kind in Kind}
    survivals = Survivals(struck=kinds, bystanders=Survival(), synced=True)
    found: dict[str, Any] = {"versions": VERSIONS, "routers": 1, "probes": {"interval_ms": 10.0}}
    found |= {"connections": msgspec.to_builtins(survivals), "keepalived": "Keepalived v9", "conntrackd": "C v8"}
    return Run(gaps_ms=gaps_ms, double_active_frames=0, problems=problems, found=found)


ALL = Survival(connections=10, survived=10, stall_ms_median=400.0, stall_ms_max=500.0)
SOME = Survival(connections=10, survived=5, stalled=2, broken=3, stall_ms_median=600.0, stall_ms_max=1300.0)
NONE = Survival(connections=10, broken=10)


def test_counts_are_sums_and_the_stall_is_the_median_of_medians() -> None:
    runs = [run(download=ALL), run(download=SOME), run(download=ALL)]
    assert survival(runs, Kind.DOWNLOAD) == Survival(
        connections=30, survived=25, stalled=2, broken=3, stall_ms_median=400.0, stall_ms_max=1300.0
    )


def test_a_run_in_which_none_survived_says_nothing_of_stalls() -> None:
    one = survival([run(download=NONE), run(download=ALL)], Kind.DOWNLOAD)
    assert (one.connections, one.broken, one.stall_ms_median, one.stall_ms_max) == (20, 10, 400.0, 500.0)


def test_of_all_kinds_together_counts_are_sums_and_the_longest_stall_counts() -> None:
    one = survival([run(download=ALL, upload=SOME)], Kind.DOWNLOAD, Kind.UPLOAD)
    assert (one.connections, one.survived, one.broken, one.stalled, one.stall_ms_max) == (20, 15, 3, 2, 1300.0)


def test_a_run_without_a_result_adds_nothing() -> None:
    runs = [Run.failed("the lab fell over"), run(download=ALL)]
    assert survival(runs, Kind.DOWNLOAD).connections == 10
    assert survival([Run(found={"connections": None})], Kind.IDLE) == Survival()


LOSSY = Survival(connections=10, survived=10, datagrams=500, datagrams_lost=20)
FOUND = {
    (1, "gapless"): [run(180.0, download=ALL, upload=ALL, idle=ALL), run(200.0, download=ALL, upload=ALL, idle=ALL)],
    (1, "keepalived"): [run(6000.0, problems=("two were active",), download=NONE, upload=SOME, udp=LOSSY)],
    (10, "gapless"): [Run.failed("oh")],
}


def test_each_kind_of_each_case_is_a_line_beside_the_gap() -> None:
    said = table(FOUND, 40, MIX, ["left out: something"], "real-time priority: none")
    assert "| gapless | 1 | 2 | download | 20 | 20 | 0 | 0 | 400 | 500 | 180 | 200 | – |\n" in said
    assert "| keepalived | 1 | 1 | download | 10 | 0 | 10 | 0 | – | – | 6,000 | 6,000 | – |\n" in said
    assert "| keepalived | 1 | 1 | upload | 10 | 5 | 3 | 2 | 600 | 1,300 | 6,000 | 6,000 | – |\n" in said
    assert "| gapless | 10 | 1 | idle | 0 | 0 | 0 | 0 | – | – | – | – | – |\n" in said
    assert "| keepalived | 1 | 1 | udp | 10 | 10 | 0 | 0 | 0 | 0 | 6,000 | 6,000 | 20 of 500 |\n" in said
    assert "| gapless | 1 | 2 | all | 60 | 60 | 0 | 0 | 400 | 500 | 180 | 200 | – |\n" in said
    assert "- left out: something\n- keepalived, 1 router, run 1: two were active\n" in said
    assert "- gapless, 10 routers, run 1: nothing was measured: oh\n" in said
    assert "Keepalived v9; C v8; Python 3" in said
    assert said.endswith("\nReal-time priority: none.\n")


def test_how_often_connections_speak_is_said_for_each_size() -> None:
    said = table(FOUND, 40, MIX, [], "real-time priority: none")
    assert "With 1 router a connection says a line each 100 ms, an idle one each 1,000 ms.\n" in said
    assert "With 10 routers a connection says a line each 200 ms, an idle one each 2,000 ms.\n" in said


def test_only_kinds_that_were_asked_for_are_lines() -> None:
    said = table(FOUND, 40, MIXES["tcp-half-downloads"], [], "real-time priority: none")
    assert "Of 10 connections: 5 download, 1 upload, 1 request, 1 idle, 1 floating-download, 1 floating-upload." in said
    kinds = [line.split(" | ")[3] for line in said.splitlines() if line.startswith("| gapless | 1 |")]
    assert kinds == ["download", "upload", "idle", "request", "floating-download", "floating-upload", "all"]


def test_how_a_run_went_is_said_while_people_wait() -> None:
    said = how_it_went(FOUND[1, "keepalived"][0])
    assert said.startswith("0 of 10 download, 5 of 10 upload, 10 of 10 udp survived; gap 6,000 ms in the median")
    assert said.endswith("problem: two were active")
    assert how_it_went(Run.failed("oh")) == "problem: nothing was measured: oh"
