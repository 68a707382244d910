"""A state directory that somebody removes is whole again a moment later, and the log says so once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from fake_controller import eventually

from gapless.sentinel.identity import StateDirectory
from gapless.sentinel.whole import keep_whole


@contextlib.asynccontextmanager
async def kept_whole(path: Path) -> AsyncIterator[StateDirectory]:
    with StateDirectory(path) as state:
        state.begin_incarnation()
        keeping = asyncio.create_task(keep_whole(state.restore, look_s=0.01))
        try:
            yield state
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)


async def test_what_is_removed_is_there_again_and_said_once(tmp_path: Path, log_lines: list[str]) -> None:
    path = tmp_path / "state"
    async with kept_whole(path):
        for times in (1, 2):
            path.rename(tmp_path / f"removed {times}")  # all at once: nothing is put back half-way
            await eventually(lambda enough=times: len(log_lines) == enough)  # type: ignore[misc]
            assert (path / "identity.json").exists()
    assert all("were removed from the state directory while this host runs" in line for line in log_lines)
    assert all(line.endswith("files='sentinel.lock, identity.json'") for line in log_lines), log_lines


async def test_what_cannot_be_put_back_is_said_once_and_tried_again(tmp_path: Path, log_lines: list[str]) -> None:
    """The disk is away for a while, and something else in its place."""
    disk, real = tmp_path / "disk", tmp_path / "real"
    real.mkdir()
    (tmp_path / "a file").touch()

    def put_in(place: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(place)
        link.replace(disk)

    put_in(real)
    async with kept_whole(disk / "state"):
        put_in(tmp_path / "a file")
        await eventually(lambda: len(log_lines) == 1)
        put_in(real)
        await eventually(lambda: len(log_lines) == 2)
    assert "cannot be put back" in log_lines[0]
    assert "is whole again" in log_lines[1]
