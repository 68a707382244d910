"""A file that is written when the lab is gone, opened before it is built.

So what cannot be written is refused before the run and not lost after it; and it is written where its path led to when
the command was given, also where the lab has mounts of its own over that place (/run). Where nothing comes to be
written, a file that was made for this is taken away again.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

import msgspec

from gapless.errors import InvalidRequest


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors, so that it can be handed to another program. `directory`: where the file was made, under `name`; -1:
    it was there before."""

    file: int
    directory: int = -1
    name: str = ""

    @classmethod
    def opened(cls, path: Path, what: str) -> "Output":
        """What is in `path` stays until `write`. Raises InvalidRequest, naming `what` it is."""
        try:
            return cls._made(path) or cls(file=os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        except OSError as error:
            raise InvalidRequest(f"{what} cannot be written to {path}: {error.strerror}; name another file") from error

    @classmethod
    def _made(cls, path: Path) -> "Output | None":
        """A new file; None: there is something already, be it a link to nowhere."""
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            return None
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return cls(file=file, directory=directory, name=path.name)

    def to_write(self) -> "Output":
        """For another program that gets the file's descriptor, and may write. Who opened it discards it."""
        return Output(file=self.file)

    def write(self, data: bytes) -> None:
        """Make `data` all that is in the file, and close it."""
        with os.fdopen(self.file, "wb") as file:
            if stat.S_ISREG(os.fstat(self.file).st_mode):
                file.truncate(0)
            file.write(data)

    def discard(self) -> None:
        """Nothing will be written any more: take the file away if it was made for that, and has stayed empty."""
        if self.directory >= 0 and os.fstat(self.file).st_size == 0:
            with suppress(OSError):  # somebody was quicker, or it cannot be: an empty file is left
                os.unlink(self.name, dir_fd=self.directory)
