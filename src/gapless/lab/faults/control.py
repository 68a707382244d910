"""The controller and its database: killed, hung, locked; alone, and with a host that dies meanwhile."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterable

from gapless.config import Liveness
from gapless.lab.faults.base import HARMLESS, TAKEN_OVER, Fault, Lasting, Reach, in_mode
from gapless.lab.faults.machines import MOMENT_S, HostPower, two_standbys
from gapless.lab.findings.expect import Expected, Gap, Moves
from gapless.lab.lab import Lab
from gapless.lab.machines.nodes import Host
from gapless.lab.waiting import until

LOCKED_WITHIN_S = 20.0
_WRITE_LOCK_AT = 120
"""Where the writers' lock of SQLite's write-ahead log lies in its index file (sqlite.org/walformat.html, 2.3)."""


class ControllerKill(Fault):
    """kill -9 of `gapless server`, and a restart."""

    name = "controller-kill"
    summary = "the controller is killed with -9 and started again"
    reach = Reach.CONTROLLER
    expected = HARMLESS
    heals = True

    def hold_s(self, liveness: Liveness) -> float:
        """Away for long enough that every host would look dead to a controller that counted it."""
        return liveness.dead_after_s

    async def strike(self, lab: Lab) -> None:
        """Kill it."""
        lab.controller.server.signal(signal.SIGKILL)
        await lab.controller.server.ended()

    async def heal(self, lab: Lab) -> None:
        """Start it again."""
        await lab.controller.server.ended()
        await lab.start_controller()
        await lab.hosts_alive(*(host.name for host in lab.hosts.values() if host.machine.is_on))


class ControllerStop(Lasting):
    """SIGSTOP of `gapless server` for longer than hosts may be silent. It must not blame them for that."""

    name = "controller-stop"
    summary = "the controller hangs"
    reach = Reach.CONTROLLER
    expected = HARMLESS

    async def strike(self, lab: Lab) -> None:
        """Stop it."""
        lab.controller.server.signal(signal.SIGSTOP)

    async def heal(self, lab: Lab) -> None:
        """Let it go on."""
        lab.controller.server.signal(signal.SIGCONT)
        await lab.controller_answers()


class DatabaseGone(Lasting):
    """Somebody else holds the writers' lock of SQLite's file: what is not yet stored cannot be, until it is let go."""

    name = "database-gone"
    summary = "the controller's database takes no writes"
    reach = Reach.CONTROLLER
    expected = HARMLESS

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        super().__init__(hosts)
        self._index: int | None = None

    async def strike(self, lab: Lab) -> None:
        """Take the lock, as soon as a transaction that has begun leaves it."""
        index = lab.controller.database
        held = os.open(index.with_name(f"{index.name}-shm"), os.O_RDWR | os.O_CLOEXEC)
        self._index = held

        async def locked() -> bool:
            with contextlib.suppress(BlockingIOError):
                fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _WRITE_LOCK_AT)
                return True
            return False

        await until(locked, "the database's lock is free", LOCKED_WITHIN_S)

    async def heal(self, lab: Lab) -> None:
        """Let it go."""
        if self._index is not None:
            os.close(self._index)
            self._index = None
        await lab.controller_answers()


class _ThenPower(Lasting):
    """A host loses power while there is no control plane. Without standbys nothing can happen before it is back."""

    expected = in_mode(reschedule=Expected(gap=Gap.LASTS, moves=Moves.STRUCK), standby=TAKEN_OVER)
    control: type[Fault]

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        super().__init__(hosts)
        self._control = self.control()

    async def strike(self, lab: Lab) -> None:
        """One, a moment, the other."""
        await self._control.strike(lab)
        await asyncio.sleep(MOMENT_S)
        await HostPower(self.hosts).strike(lab)

    async def heal(self, lab: Lab) -> None:
        """The control plane is back; the host is not."""
        await self._control.heal(lab)


class ControllerThenPower(_ThenPower):
    """The controller is killed first."""

    name = "controller-then-power"
    summary = "the controller is killed with -9, then a host loses power; only the controller comes back"
    control = ControllerKill


class ControllerThenTwoHosts(ControllerThenPower):
    """The controller is killed first, then a host and its first successor die together."""

    name = "controller-then-two-hosts"
    summary = "the controller is killed with -9, then a host and the first standby of most of its routers lose power"
    reach = Reach.FATAL_PAIR

    async def prepare(self, lab: Lab) -> None:
        """Raises InvalidRequest where there is no second standby, or no quorum would be left."""
        await two_standbys(lab, self.name)


class DatabaseThenPower(_ThenPower):
    """The database is gone first."""

    name = "database-then-power"
    summary = "the controller's database takes no writes, then a host loses power; only the database comes back"
    control = DatabaseGone
