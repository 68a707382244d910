"""One host to a machine: two would take each other's routers for leftovers and remove them.

The lock is an abstract unix socket's name (unix(7)). Abstract names are per network namespace, which is just what must
have one owner: two hosts with different state directories on one machine exclude each other, the hosts of a lab do not.
The kernel lets go of a name with the last system call of its owner, however that ends.

Sentinel and agent hold a lock each. A sentinel that was killed leaves an agent that ends a moment later.
"""

import errno
import socket
import time
from typing import Final, Self

from gapless.errors import InvalidRequest, Unavailable

POLL_S: Final = 0.02


class HostLock:
    """The lock of one role ("sentinel", "agent") in the network namespace of this process; held until closed."""

    def __init__(self, role: str, wait_s: float = 0.0) -> None:
        """Take the lock, waiting up to `wait_s` for a predecessor to end.

        Raises InvalidRequest with what to do where another host works here, Unavailable where it cannot be known.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        deadline = time.monotonic() + wait_s
        while not self._took(f"\0gapless-{role}"):
            if time.monotonic() >= deadline:
                self._socket.close()
                raise InvalidRequest(_taken(role, wait_s))
            time.sleep(POLL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the lock."""
        self._socket.close()

    def _took(self, name: str) -> bool:
        try:
            self._socket.bind(name)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            self._socket.close()
            raise Unavailable(f"whether another gapless host runs here cannot be known: {error.strerror}") from error
        return True


def _taken(role: str, waited_s: float) -> str:
    waited = f", and has not ended for {waited_s:g} s" if waited_s else ""
    return (
        f"another gapless host runs on this machine (its {role} works in the same network namespace{waited}): "
        "a machine has one; stop that one first, or give this one a network namespace of its own"
    )
