"""The directory of running labs: ours alone, or nothing in it is believed and nothing is written there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gapless.errors import GaplessError, InvalidRequest, Unavailable
from gapless.lab import registry, running
from gapless.lab.machines import enter

FOUND = b'{"supervisor": 1, "started": 0, "pid": 1, "since": 0.0}'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the directory will be; it is not there yet."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "gapless"


def a_link(place: Path) -> None:
    theirs = place.with_name("theirs")
    theirs.mkdir(mode=0o700)
    place.symlink_to(theirs)


def a_dangling_link(place: Path) -> None:
    place.symlink_to(place.with_name("nowhere"))


def a_file(place: Path) -> None:
    place.touch(mode=0o600)


def open_to(mode: int) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        place.mkdir()
        place.chmod(mode)

    return make


TRAPS: dict[str, tuple[Callable[[Path], None], str]] = {
    "link": (a_link, "is not a directory"),
    "dangling link": (a_dangling_link, "is not a directory"),
    "file": (a_file, "is not a directory"),
    "writable by all": (open_to(0o777), r"is open to others \(mode 0777\)"),
    "readable by the group": (open_to(0o740), r"is open to others \(mode 0740\)"),
}


def refused(place: Path, complaint: str) -> None:
    """Nothing is written, found, listed or entered."""
    before = sorted(place.parent.rglob("*"))
    asked: list[Callable[[], object]] = [
        lambda: registry.write(running.file_of("lab"), FOUND),
        lambda: running.find("lab"),
        lambda: running.the("lab"),
        lambda: running.command(["true"], name="lab"),
        lambda: enter._register(running.file_of("lab"), os.getpid()),
    ]
    for ask in asked:
        with pytest.raises(InvalidRequest, match=complaint) as refusal:
            ask()
        assert len(str(refusal.value).splitlines()) == 1
    assert sorted(place.parent.rglob("*")) == before


@pytest.mark.parametrize("trap", TRAPS)
def test_a_directory_that_is_not_ours_alone_is_refused(place: Path, trap: str) -> None:
    make, complaint = TRAPS[trap]
    make(place)
    refused(place, complaint)


def test_a_directory_of_somebody_else_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One user cannot make another one's directory, so this user becomes another one."""
    place.mkdir(mode=0o700)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    refused(place, f"belongs to user {owner}")


def test_what_is_written_is_read_and_is_nobody_elses(place: Path) -> None:
    file = running.file_of("lab")
    assert registry.read(file) is None
    registry.write(file, b"one")
    registry.write(file, b"two")
    assert registry.read(file) == b"two"
    assert (place.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert [path.name for path in place.iterdir()] == ["lab.json"]


@pytest.mark.parametrize("left", ["file", "link"])
def test_a_draft_that_lies_there_is_not_written_through(place: Path, left: str) -> None:
    place.mkdir(mode=0o700)
    victim = place.with_name("victim")
    victim.write_text("precious")
    draft = place / "lab.new"
    draft.symlink_to(victim) if left == "link" else draft.write_text("half")
    registry.write(running.file_of("lab"), b"whole")
    assert victim.read_text() == "precious"
    assert not running.file_of("lab").is_symlink()
    assert registry.read(running.file_of("lab")) == b"whole"


def test_a_runtime_directory_that_cannot_be_used_is_told_in_words(place: Path) -> None:
    place.parent.joinpath("file").touch()
    file = place.parent / "file" / "gapless" / "lab.json"
    asked: list[Callable[[], object]] = [lambda: registry.write(file, b""), lambda: registry.read(file)]
    for ask in asked:
        with pytest.raises(Unavailable, match="cannot be"):
            ask()
    assert issubclass(Unavailable, GaplessError)
