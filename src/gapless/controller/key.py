"""The cluster's key at the controller: made at the first start, read like everybody else reads it ever after.

It is born with mode 0600, appears under its name complete or not at all, and nothing here ever replaces it: not even
where it is gone. A database that is there says that there was one, and another would shut out every host that has it.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from gapless.errors import InvalidRequest, Unavailable
from gapless.wire.key import load
from gapless.wire.proof import KEY_BYTES


def load_or_create(path: Path, database: Path | None = None) -> bytes:
    """The key in `path`, made first where there is none, nor a `database` of an earlier start. Raises InvalidRequest or
    Unavailable with what to change.

    A key that is there needs no room on the disk and no permission to write.
    """
    if not os.path.lexists(path):
        if database is not None and _has_content(database):
            raise InvalidRequest(
                f"the key file {path} is gone, and the database {database} is there: hosts have that key, and would "
                "refuse a controller with a new one. Put it back with mode 0600, from a backup or from any host's "
                "--key-file; a new cluster begins with an empty --state-dir and a database of its own"
            )
        with suppress(FileExistsError):  # another one was quicker
            _create(path)
    return load(path)


def _has_content(database: Path) -> bool:
    try:
        return database.stat().st_size > 0
    except OSError:  # Who opens it next says what is wrong with it.
        return False


def _create(path: Path) -> None:
    """Make the file complete under another name, then link it in place: a link never replaces what is there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_hex(KEY_BYTES).encode() + b"\n")
            os.fsync(descriptor)
            os.link(draft, path)
        finally:
            os.close(descriptor)
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise
    except OSError as error:
        raise Unavailable(f"the key file {path} cannot be made: {error.strerror}") from error
