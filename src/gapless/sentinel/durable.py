"""Files that are there whole or not at all, also after a power cut.

Written under another name, flushed to the disk (fsync), renamed over the old one, and the directory flushed too: POSIX
rename is atomic, and on ext4 and XFS the new name is durable only once the directory is (LWN 457667).
"""

import os
from pathlib import Path

from gapless.errors import Unavailable


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
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
