"""The directory of running labs: ours alone, or nothing in it is believed and nothing is written there."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gapless.errors import GaplessError, InvalidRequest, Unavailable
from gapless.lab import registry, running
from gapless.lab.machines import enter
from gapless.lab.registry import Registered

DEAD = Registered(supervisor=os.getpid(), started=registry.start_time(os.getpid()) - 1, pid=1, since=0.0)
"""Of a supervisor whose pid is another process's by now."""
ALSO_DEAD = Registered(supervisor=os.getpid(), started=registry.start_time(os.getpid()) - 2, pid=1, since=0.0)
LIVING = Registered(supervisor=os.getpid(), started=registry.start_time(os.getpid()), pid=1, since=0.0)
ANOTHER = Registered(supervisor=os.getpid(), started=registry.start_time(os.getpid()), pid=2, since=0.0)


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
        lambda: registry.write(running.file_of("lab"), LIVING),
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
    registry.write(file, DEAD)
    registry.write(file, LIVING)
    assert registry.read(file) == LIVING
    assert (place.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert [path.name for path in place.iterdir()] == ["lab.json"]


@pytest.mark.parametrize("left", ["file", "link"])
def test_a_draft_that_lies_there_is_not_written_through(place: Path, left: str) -> None:
    place.mkdir(mode=0o700)
    victim = place.with_name("victim")
    victim.write_text("precious")
    draft = place / "lab.new"
    draft.symlink_to(victim) if left == "link" else draft.write_text("half")
    registry.write(running.file_of("lab"), LIVING)
    assert victim.read_text() == "precious"
    assert not running.file_of("lab").is_symlink()
    assert registry.read(running.file_of("lab")) == LIVING


def test_of_two_that_found_no_lab_one_is_registered_and_the_other_refuses(place: Path) -> None:
    file = running.file_of("lab")
    for _ in range(2):
        assert running.command(["true"], name="lab"), "both look before either is registered"
    said = enter._register(file, os.getpid())
    with pytest.raises(InvalidRequest, match="a lab 'lab' is running; end it with `gapless lab down`"):
        registry.write(file, ANOTHER)
    assert registry.read(file) == said
    assert [path.name for path in place.iterdir()] == ["lab.json"]


def test_who_replaces_a_dead_ones_file_does_so_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its look to its end nobody else may look, or two would find the same dead one."""
    file, others = running.file_of("lab"), []
    registry.write(file, DEAD)
    begun = registry.start_time

    def start_time(pid: int) -> int:
        descriptor = os.open(place, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            others.append("another one looked")
        except BlockingIOError:
            others.append("waits")
        finally:
            os.close(descriptor)
        return begun(pid)

    monkeypatch.setattr(registry, "start_time", start_time)
    registry.write(file, LIVING)
    assert others == ["waits"]


def test_what_is_another_labs_by_now_is_not_removed(place: Path) -> None:
    file = running.file_of("lab")
    registry.write(file, DEAD)
    registry.write(file, LIVING)
    for gone in (DEAD, ALSO_DEAD):
        registry.remove(file, gone)
    assert registry.read(file) == LIVING
    registry.remove(file, LIVING)
    registry.remove(file, LIVING)
    assert not place.exists()


@pytest.mark.parametrize("times", [1, registry.ATTEMPTS])
def test_a_directory_that_is_removed_by_who_had_its_lock_is_made_again(
    place: Path, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as often as it is tried; then it is told in words."""
    left, lock = list(range(times)), fcntl.flock

    def removed_meanwhile(descriptor: int, how: int) -> None:
        lock(descriptor, how)
        if left:
            left.pop()
            shutil.move(place, place.with_name(f"gone-{len(left)}"))
            place.mkdir(mode=0o700)

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    file = running.file_of("lab")
    if times < registry.ATTEMPTS:
        registry.write(file, LIVING)
    else:
        with pytest.raises(Unavailable, match=r"cannot be written: No such file or directory"):
            registry.write(file, LIVING)
    assert registry.read(file) == (LIVING if times < registry.ATTEMPTS else None)


def test_a_runtime_directory_that_cannot_be_used_is_told_in_words(place: Path) -> None:
    place.parent.joinpath("file").touch()
    file = place.parent / "file" / "gapless" / "lab.json"
    asked: list[Callable[[], object]] = [
        lambda: registry.write(file, LIVING),
        lambda: registry.read(file),
        lambda: registry.remove(file, LIVING),
    ]
    for ask in asked:
        with pytest.raises(Unavailable, match="cannot be"):
            ask()
    assert issubclass(Unavailable, GaplessError)
