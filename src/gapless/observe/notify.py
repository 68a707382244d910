"""What the service manager (systemd) is told of a process: it is ready, what it does, its loop turns, it stops.

Theory: sd_notify(3). The manager names a datagram socket in NOTIFY_SOCKET and takes lines NAME=VALUE there; where
WATCHDOG_USEC is set, it ends a process that is not heard for so long.

The rule: nobody waits for the manager, and nothing fails for its sake. What is told is a level, not a story: a message
that could not be sent is made up for by the next one, which says all of it. A process without a manager tells nobody.

Children are not meant. The variables are taken out of the environment, so that no beat and no agent speaks for the
unit: `NotifyAccess=main` alone would not keep a child from believing that it is watched.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Final

STARTING_LOOK_S: Final = 0.1
LOOK_S: Final = 1.0
"""How often is looked at what is to be told, before a process is ready and after that."""
SIGNS: Final = 3
"""Signs of life in the time that the watchdog waits: two may be lost."""
MOMENT_S: Final = 20.0
"""For what is left to do when the time that an operator allowed is over: as much as the units allow beside it."""
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What there is to tell."""

    is_ready: bool
    status: str
    """One line for `systemctl status`."""


class ServiceManager:
    """The one that started this process. `address` as NOTIFY_SOCKET has it; "" where there is none."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_s = watchdog_s if self.is_there else None
        self._socket = (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if self._address else None
        )
        self._told: Condition | None = None

    @classmethod
    def found_in(cls, environment: MutableMapping[str, str]) -> "ServiceManager":
        """The one that the environment names, which it names no more after that. An address of another kind than
        sockets in the file system and abstract ones (`@`) is taken for none.
        """
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us, meant = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        is_watched = watchdog_us.isdecimal() and int(watchdog_us) > 0 and meant in ("", str(os.getpid()))
        if address[:1] not in ("/", "@") or len(address) < 2:
            address = ""
        return cls(address, int(watchdog_us) / 1e6 if is_watched else None)

    @property
    def is_there(self) -> bool:
        """Whether there is one."""
        return bool(self._address)

    def tell(self, condition: Condition) -> None:
        """How things are, if that was not told yet."""
        if condition == self._told:
            return
        ready = ["READY=1"] if condition.is_ready else []
        if self._send(*ready, f"STATUS={_line(condition.status)}"):
            self._told = condition

    def turns(self) -> None:
        """A sign of life. The caller is what must not hang."""
        self._send("WATCHDOG=1")

    def stops(self, status: str, within_s: float = 0.0) -> None:
        """It ends now, and in order; after `within_s` and a moment at most, which the manager is asked to wait even if
        its own patience is less.
        """
        patience = [f"EXTEND_TIMEOUT_USEC={(within_s + MOMENT_S) * 1e6:.0f}"] if within_s else []
        self._send("STOPPING=1", *patience, f"STATUS={_line(status)}")

    async def follow(self, look: Callable[[], Condition], clock: Callable[[], float] = time.monotonic) -> None:
        """Tell what `look` says, and that the loop turns in which this runs; until cancelled. Returns at once where
        there is nobody to tell.
        """
        sign_due = clock()
        while self.is_there:
            condition = look()
            self.tell(condition)
            if self._watchdog_s is not None and clock() >= sign_due:
                self.turns()
                sign_due = clock() + self._watchdog_s / SIGNS
            pause_s = LOOK_S if condition.is_ready else STARTING_LOOK_S
            until_sign_s = pause_s if self._watchdog_s is None else max(0.0, sign_due - clock())
            await asyncio.sleep(min(pause_s, until_sign_s))

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> bool:
        """Whether it is on its way. A manager that is gone, or does not read, is no reason to stop or to wait."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
