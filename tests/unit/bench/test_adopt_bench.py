"""The end of an agent: each way a line, lost probes and changed routers summed up."""

from typing import Any

import adopt


def end(way: str, in_sync_s: float, lost: int = 0, changed: int = 0) -> dict[str, Any]:
    figures = {"probes": 1000, "lost": lost, "worst_gap_ms": 12.5, "changed": changed, "peak_mb": 71.5}
    return {"way": way, "in_sync_s": in_sync_s, **figures}


ENDS = [end("kill", 4.0), end("order", 3.0), end("kill", 5.5, lost=2, changed=1)]


def test_each_way_is_a_line() -> None:
    said = adopt.table({1000: ENDS})
    assert "| 1,000 | killed | 2 | 4.75 (4.00 to 5.50) | 2 of 2,000 | 12.5 | 1 | 71.5 |" in said
    assert "| 1,000 | ended in order | 1 | 3 | 0 of 1,000 | 12.5 | 0 | 71.5 |" in said
    assert "in sync within 5 s" in said


def test_one_end_is_a_line() -> None:
    said = "killed: in sync after 5.50 s, 2 of 1000 probes lost, 1 router changed, 71.5 MiB of memory at most"
    assert adopt.words(ENDS[2]) == said
