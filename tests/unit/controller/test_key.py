"""The cluster's key file: born private, never replaced, refused when it may have been read."""

import os
import stat
from pathlib import Path

import pytest

from gapless.controller import key
from gapless.errors import InvalidRequest, Unavailable


def test_the_first_start_makes_a_private_key_and_later_starts_read_it(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"

    made = key.load_or_create(path)

    assert len(made) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.load_or_create(path) == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["cluster.key"], "the draft is gone"


def test_two_clusters_have_two_keys(tmp_path: Path) -> None:
    assert key.load_or_create(tmp_path / "a") != key.load_or_create(tmp_path / "b")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "cluster.key"
    key.load_or_create(path)
    path.chmod(mode)

    with pytest.raises(InvalidRequest, match=rf"{path} has mode {mode:04o}.*chmod 600"):
        key.load_or_create(path)


@pytest.mark.parametrize("text", ["", "not hex at all", "ab" * 31, "ab" * 33, "ä" * 64, "ab" * 32 + "\nmore"])
def test_what_is_not_a_key_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cluster.key"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(InvalidRequest, match="is not a key file"):
        key.load_or_create(path)

    assert path.read_text() == text


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"nowhere/cluster.key cannot be made: No such file"):
        key.load_or_create(tmp_path / "nowhere" / "cluster.key")


def test_a_draft_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    key.load_or_create(path)
    path.unlink()
    (tmp_path / f".cluster.key.{os.getpid()}").write_text("half a k")

    assert len(key.load_or_create(path)) == 32
    assert [entry.name for entry in tmp_path.iterdir()] == ["cluster.key"]


def test_a_key_that_was_lost_is_not_replaced_by_another(tmp_path: Path) -> None:
    path, database = tmp_path / "cluster.key", tmp_path / "gapless.db"
    database.write_bytes(b"")
    made = key.load_or_create(path, database)
    database.write_bytes(b"rows of an earlier start")
    assert key.load_or_create(path, database) == made
    path.unlink()

    with pytest.raises(InvalidRequest, match=rf"{path} is gone, and the database {database} is there.*--key-file"):
        key.load_or_create(path, database)

    assert not path.exists()
