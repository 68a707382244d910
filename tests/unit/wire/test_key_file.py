"""The cluster's key as a host reads it: every way to get it wrong has its own clear line."""

from pathlib import Path

import pytest

from gapless.errors import InvalidRequest, Unavailable
from gapless.wire.key import load

KEY = bytes(range(32))


def write(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_key(tmp_path: Path, end: str) -> None:
    assert load(write(tmp_path / "k", KEY.hex() + end)) == KEY


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"No such file.*copy it to each host"):
        load(tmp_path / "k")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read(tmp_path: Path, mode: int) -> None:
    with pytest.raises(InvalidRequest, match="chmod 600"):
        load(write(tmp_path / "k", KEY.hex(), mode))


@pytest.mark.parametrize("content", ["", "zz" * 32, KEY.hex()[:-1], KEY.hex() + "00", "é" * 40])
def test_what_is_no_key(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidRequest, match="64 hex digits"):
        load(write(tmp_path / "k", content))
