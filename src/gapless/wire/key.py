"""The cluster's key, as both ends of a control link read it from disk.

Whoever can read it can pose as a host or as the controller, so a file that others can read is refused rather than
repaired: a key that was readable may have been read.
"""

import os
import stat
from pathlib import Path

from gapless.errors import InvalidRequest, Unavailable
from gapless.wire.proof import KEY_BYTES


def load(path: Path) -> bytes:
    """The key in `path`. Raises InvalidRequest (others can read it; not a key) or Unavailable (cannot be read)."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            # Two bytes past a key show that this is something else.
            text = file.read(2 * KEY_BYTES + 2)
    except OSError as error:
        raise Unavailable(
            f"the key file {path} cannot be read: {error.strerror}. The controller makes it at its first start, as "
            "cluster.key in its state directory; copy it to each host with mode 0600"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InvalidRequest(f"the key file {path} has mode {mode:04o}, so others can read it: run `chmod 600 {path}`")
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise InvalidRequest(f"{path} is not a key file: it must hold {KEY_BYTES} bytes as {2 * KEY_BYTES} hex digits")
    return key
