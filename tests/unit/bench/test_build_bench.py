"""Building beside its floor: the ratio of each round, and the table."""

import pytest

from build_routers import key, ratios, table, words

ROUNDS = [
    {
        "build_gapless_ms": build,
        "build_floor_ms": floor,
        "build_lower_ms": floor / 2,
        "delete_gapless_ms": delete,
        "delete_floor_ms": 1.0,
        "delete_lower_ms": 1.0,
        "peak_mb": peak_mb,
    }
    for build, floor, delete, peak_mb in ((9.0, 6.0, 2.0, 60.0), (24.0, 12.0, 1.0, 62.0), (6.0, 6.0, 3.0, 64.0))
]
"""The second is twice as slow in all: a slow moment of the machine."""


def test_a_ratio_is_that_of_one_round() -> None:
    assert key("build", "floor") == "build_floor_ms"
    assert ratios(ROUNDS, "build") == pytest.approx([1.5, 2.0, 1.0])
    assert ratios(ROUNDS, "delete") == pytest.approx([2.0, 1.0, 3.0])
    assert ratios(ROUNDS, "build", "lower") == pytest.approx([3.0, 4.0, 2.0])
    assert words(ROUNDS[0]) == (
        "build 9.00 ms, floor 6.00, ratio 1.50, with the lower one 3.00; "
        "delete 2.00 ms, floor 1.00, ratio 2.00, with the lower one 2.00"
    )


def test_the_table_has_a_line_for_each_size_and_work() -> None:
    said = table({100: ROUNDS, 1000: ROUNDS[:1]})
    build = (
        "9.00 (6.00 to 24.00) | 6.00 (6.00 to 12.00) | 1.50 (1.00 to 2.00) | 3.00 (3.00 to 6.00) | 3.00 (2.00 to 4.00)"
    )
    assert f"| 100 | 3 | build | {build} |" in said
    assert "| 100 | 3 | delete | 2.00 (1.00 to 3.00) | 1 | 2.00 (1.00 to 3.00) | 1 | 2.00 (1.00 to 3.00) |" in said
    assert "| 1,000 | 1 | delete | 2 | 1 | 2 | 1 | 2 |" in said
    assert "Goal: 1.6 at most." in said
    assert "in MiB (VmHWM): 62.0 (60.0 to 64.0) with 100 routers, 60 with 1,000 routers." in said
