"""How many connections the kernel tracks: read from where it says so, and written there."""

from pathlib import Path

import pytest

from gapless.kernel import tracked

READ_ONLY = Path("/proc/sys/kernel/ngroups_max")
"""A number that nobody may write, not even root."""


@pytest.mark.parametrize(
    ("content", "most"), [("65536\n", 65_536), ("0\n", None), ("-1\n", None), ("?", None), (None, None)]
)
def test_how_many_connections_are_tracked_is_known_once_any_are(
    tmp_path: Path, content: str | None, most: int | None
) -> None:
    limit = tmp_path / "nf_conntrack_max"
    if content is not None:
        limit.write_text(content)
    assert tracked.most(limit) == most


def test_what_is_allowed_is_tracked(tmp_path: Path) -> None:
    limit = tmp_path / "nf_conntrack_max"
    tracked.allow(70_000, limit)
    assert tracked.most(limit) == 70_000


def test_what_nobody_may_write_is_refused() -> None:
    before = tracked.most(READ_ONLY)
    with pytest.raises(OSError, match=str(READ_ONLY)):
        tracked.allow(70_000, READ_ONLY)
    assert tracked.most(READ_ONLY) == before is not None
