"""Where running labs are registered: a directory that is this user's alone.

/tmp belongs to everybody, so whoever comes first could make the directory, or a symbolic link of its name, and have
files written for him or his own believed. The rule: nothing is read or written in a directory that somebody else made
or may write to, and a file there is never one that existed before it was written. Root most of all.

Files are written and removed by one process at a time, the one that holds the directory's lock: so of several labs that
begin under one name at once one gets it, and nobody removes another one's file.

Source: open(2) for O_EXCL and O_NOFOLLOW, path_resolution(7), flock(2).
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gapless.errors import InvalidRequest, Unavailable

ATTEMPTS = 5


class Registered(msgspec.Struct, frozen=True):
    """What a file says. Pids as seen outside; `started` in clock ticks since boot; `since` in wall-clock seconds."""

    supervisor: int
    started: int
    pid: int
    since: float

    @property
    def runs(self) -> bool:
        """Whether the supervisor lives."""
        try:
            return start_time(self.supervisor) == self.started
        except (OSError, IndexError):
            return False


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; with its pid it tells it from every other. Raises OSError."""
    # proc_pid_stat(5): field 22; the second field may hold spaces and ends at the last parenthesis
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def directory() -> Path:
    """Where it is: in the user's runtime directory, or in /tmp. It need not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(runtime) / "gapless" if runtime else Path(f"/tmp/gapless-{os.getuid()}")


def require_private(place: Path) -> None:
    """Raise InvalidRequest where `place` is no directory that we own and nobody else can enter. Raises OSError."""
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode):
        trouble = "is not a directory"
    elif found.st_uid != os.geteuid():
        trouble = f"belongs to user {found.st_uid}"
    elif found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        trouble = f"is open to others (mode {stat.S_IMODE(found.st_mode):04o})"
    else:
        return
    raise InvalidRequest(f"{place} {trouble}, so what it says about labs cannot be believed: remove it")


def taken(file: Path) -> InvalidRequest:
    """The error where the lab of that file runs, and another one is to have its name."""
    return InvalidRequest(f"a lab '{file.stem}' is running; end it with `gapless lab down`, or choose another --name")


def write(file: Path, said: Registered) -> None:
    """Write `file` whole, and make its directory. Raises InvalidRequest where that is not ours alone, or the file is a
    running lab's; Unavailable."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _write(file, said)
            return
        except FileNotFoundError as error:  # who removed the last file took the directory from under us
            if attempt == ATTEMPTS:
                raise Unavailable(f"{file} cannot be written: {error.strerror}") from error
        except OSError as error:
            raise Unavailable(f"{file} cannot be written: {error.strerror}") from error


def _write(file: Path, said: Registered) -> None:
    draft = file.with_suffix(".new")
    _make(file.parent)
    require_private(file.parent)
    with _alone_in(file.parent):
        there = read(file)
        if there and there.runs:
            raise taken(file)
        draft.unlink(missing_ok=True)  # of a supervisor that was killed while it wrote
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(msgspec.json.encode(said))
        draft.rename(file)


def remove(file: Path, said: Registered) -> None:
    """Remove `file` if it still says that, and its directory with the last one. Raises Unavailable."""
    try:
        with _alone_in(file.parent):
            if read(file) != said:
                return
            file.unlink()
            with contextlib.suppress(OSError):  # another lab's file is in it
                file.parent.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(f"{file} cannot be removed: {error.strerror}") from error


@contextlib.contextmanager
def _alone_in(place: Path) -> Iterator[None]:
    """Nobody else writes or removes a file in `place` meanwhile: others wait, for some system calls. Raises OSError, of
    which FileNotFoundError says that the directory is gone."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not os.path.samestat(os.fstat(descriptor), place.lstat()):  # removed while we waited, and made again
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
        yield
    finally:
        os.close(descriptor)


def read(file: Path) -> Registered | None:
    """What `file` says; None where there is none, or it is not whole. Raises InvalidRequest where its directory is not
    ours alone, Unavailable."""
    try:
        require_private(file.parent)
        return msgspec.json.decode(file.read_bytes(), type=Registered)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise Unavailable(f"{file} cannot be read: {error.strerror}") from error


def _make(place: Path) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # whatever it is, it is judged next
        place.mkdir(mode=0o700)
