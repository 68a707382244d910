"""Where running labs are registered: a directory that is this user's alone.

/tmp belongs to everybody, so whoever comes first could make the directory, or a symbolic link of its name, and have
files written for him or his own believed. The rule: nothing is read or written in a directory that somebody else made
or may write to, and a file there is never one that existed before it was written. Root most of all.

Source: open(2) for O_EXCL and O_NOFOLLOW, path_resolution(7).
"""

import contextlib
import os
import stat
from pathlib import Path

from gapless.errors import InvalidRequest, Unavailable

ATTEMPTS = 5


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


def write(file: Path, content: bytes) -> None:
    """Write `file` whole, and make its directory. Raises InvalidRequest where that is not ours alone, Unavailable."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _write(file, content)
            return
        except FileNotFoundError as error:  # who removed the last file took the directory from under us
            if attempt == ATTEMPTS:
                raise Unavailable(f"{file} cannot be written: {error.strerror}") from error
        except OSError as error:
            raise Unavailable(f"{file} cannot be written: {error.strerror}") from error


def _write(file: Path, content: bytes) -> None:
    draft = file.with_suffix(".new")
    _make(file.parent)
    require_private(file.parent)
    draft.unlink(missing_ok=True)  # of a supervisor that was killed while it wrote
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
    draft.rename(file)


def remove(file: Path) -> None:
    """Remove `file`, and its directory with the last one."""
    file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another lab's file is in it, or it is gone
        file.parent.rmdir()


def read(file: Path) -> bytes | None:
    """What `file` says; None where there is none. Raises InvalidRequest where its directory is not ours alone,
    Unavailable."""
    try:
        require_private(file.parent)
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{file} cannot be read: {error.strerror}") from error


def _make(place: Path) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # whatever it is, it is judged next
        place.mkdir(mode=0o700)
