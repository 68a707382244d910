"""The table of Gapless and its peer: ratios, problems that are shown, and which priority the beats had."""

from typing import Any

from peers_table import rows, table
from runs import Run, document

VERSIONS = {"gapless": "0", "python": "3", "kernel": "6", "cores": 2, "processor": "P"}


def run(*gaps_ms: float, problems: tuple[str, ...] = (), frames: int = 0, **more: Any) -> Run:
    found = {"versions": VERSIONS, "routers": 1, "probes": {"interval_ms": 1.0}, **more}
    return Run(gaps_ms=gaps_ms, double_active_frames=frames, problems=problems, found=found)


FOUND = {
    (1, "gapless"): [run(100.0), run(300.0, problems=("two were active",), frames=7)],
    (1, "keepalived-neutron"): [run(5000.0, keepalived="Keepalived v9"), Run.failed("much\nlast words\n")],
    (2, "gapless-fast"): [run(40.0)],
}


def test_each_case_is_a_line_with_its_ratio_and_its_problems() -> None:
    said = table(FOUND, ["left out: something"], "real-time priority: none")
    assert "| gapless | 1 | 2 | 100 | 300 | 300 | 1.00 | 0, 7 | 1 of 2 |" in said
    assert "| keepalived-neutron | 1 | 2 | 5,000 | 5,000 | 5,000 | 50 | 0, unknown | 1 of 2 |" in said
    assert "| gapless-fast | 2 | 1 | 40 | 40 | 40 | – | 0 | 0 of 1 |" in said, "nothing to compare with at this size"
    assert "- left out: something\n- gapless, 1 router, run 2: two were active\n" in said
    assert "- keepalived-neutron, 1 router, run 2: nothing was measured: last words\n" in said
    assert "Keepalived v9; Python 3" in said
    assert said.endswith("\nReal-time priority: none.\n")


def test_nothing_measured_at_all_is_still_a_table() -> None:
    said = table({(1, "gapless"): [Run.failed("")]}, [], "real-time priority: none")
    assert "| gapless | 1 | 1 | – | – | – | – | unknown | 1 of 1 |" in said
    assert "nothing was measured: it said nothing" in said


def test_the_picture_has_a_row_for_each_case_and_the_document_every_run() -> None:
    assert [(row.label, list(row.gaps_ms)) for row in rows(FOUND)] == [
        ("gapless, 1 router", [100.0, 300.0]),
        ("keepalived-neutron, 1 router", [5000.0]),
        ("gapless-fast, 2 routers", [40.0]),
    ]
    whole: Any = document(FOUND, [], "real-time priority: none")
    assert [len(case["runs"]) for case in whole["cases"]] == [2, 2, 1]
    assert whole["cases"][1]["gap_ms"]["median"] == 5000.0


def test_how_a_run_went_is_said_while_people_wait() -> None:
    assert FOUND[1, "gapless"][1].words == "gap 300 ms in the median, 300 ms at most; problem: two were active"
    assert Run.failed("oh").words == "problem: nothing was measured: oh"
