"""Files that are there whole or not at all, also after a power cut; and that are put back when somebody removes them.

Written under another name, flushed to the disk (fsync), renamed over the old one, and the directory flushed too: POSIX
rename is atomic, and on ext4 and XFS the new name is durable only once the directory is (LWN 457667).
"""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gapless.errors import Unavailable

Read = TypeVar("Read")


class KeptFile:
    """A file that one process writes. What it should hold is known here too, so it can be put back.

    Each call blocks on the disk, and may come from any thread.
    """

    def __init__(self, path: Path, own: Callable[[], None] = lambda: None) -> None:
        """`own` makes sure that the directory is this process's before anything is written, or raises Unavailable."""
        self.path = path
        self._own = own
        self._content: bytes | None = None
        self._is_lost = False
        self._writing = threading.Lock()

    def read(self, decode: Callable[[bytes], Read]) -> Read | None:
        """What it holds, None where it is not there. What cannot be decoded is not known here either, and never put
        back. Raises Unavailable, and what `decode` raises.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"{self.path} cannot be read: {error.strerror}") from error
        decoded = decode(content)
        self._content = content
        return decoded

    def write(self, content: bytes) -> None:
        """Replace it by `content`, as `write_durably` does. Raises Unavailable."""
        self._own()
        with self._writing:
            write_durably(self.path, content)
            self._content, self._is_lost = content, False

    def lose(self) -> None:
        """Its directory is another one: what is there under its name now is not what was written."""
        self._is_lost = True

    def restore(self) -> bool:
        """Put it back if it was removed; returns whether it was. Raises Unavailable."""
        with self._writing:
            if self._content is None or (os.path.lexists(self.path) and not self._is_lost):
                return False
            write_durably(self.path, self._content)
            self._is_lost = False
            return True


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, mode 0600. Blocks on the disk. Raises Unavailable; then the old file is intact."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _flush_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # half of it would take room that is short already
            draft.unlink()
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
