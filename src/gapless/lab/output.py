"""A file that is written when the lab is gone, opened before it is built.

So what cannot be written is refused before the run and not lost after it; and it is written where its path led to when
the command was given, also where the lab has mounts of its own over that place (/run).
"""

import os
import stat
from pathlib import Path

from gapless.errors import InvalidRequest


def opened(path: Path, what: str) -> int:
    """A descriptor of `path` for `write`; what is in it stays until then. Raises InvalidRequest, naming `what` it is.

    Programs that are executed do not get it unless told to.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InvalidRequest(f"{what} cannot be written to {path}: {error.strerror}; name another file") from error


def write(descriptor: int, data: bytes) -> None:
    """Make `data` all that is in the file, and close it."""
    with os.fdopen(descriptor, "wb") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.truncate(0)
        file.write(data)
