"""The agent as a process: `python -m gapless.agent '<AgentStart as JSON>'`, started by the sentinel and nobody else.

At most one agent works on a machine's routers at a time: an agent dies with its sentinel (PR_SET_PDEATHSIG, prctl(2)),
and waits at its start until the one before has let go of its lock in the network namespace, which a dying process does
only after its last system call.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys

from gapless.agent.driver import Driver
from gapless.agent.kernel.events import RouterEvents
from gapless.agent.kernel.guarding import GuardWatch
from gapless.agent.kernel.watch import DriftWatcher
from gapless.agent.reconcile import Reconciler
from gapless.errors import GaplessError
from gapless.kernel.limits import allow_descriptors
from gapless.observe.log import LogFormat, configure, get_logger
from gapless.wire.hostlock import HostLock
from gapless.wire.local import AgentStart, LocalLink, decode_start
from gapless.wire.messages import to_agent

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOCK_WAIT_S = 20.0
_held: list[HostLock] = []
"""Let go by the end of the process alone: a job may be in the kernel still when the driver has given up on it."""


def main() -> int:
    """Run the agent; returns the exit status."""
    _die_with_the_sentinel()
    # A Ctrl-C at the terminal is for the sentinel, which then ends this process in an orderly way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        start = decode_start(sys.argv[1] if len(sys.argv) == 2 else "")
    except GaplessError as error:
        print(f"gapless agent: {error}", file=sys.stderr)  # noqa: T201 - there is no log format yet
        return 2
    configure("agent", LogFormat(start.log_format))
    allow_descriptors()
    status = 0
    try:
        asyncio.run(_serve(start))
    except* GaplessError as group:
        get_logger().error("this host cannot carry routers", reason="; ".join(map(str, _leaves(group))))
        status = 1
    return status


async def _serve(start: AgentStart) -> None:
    link = await LocalLink.over(socket.socket(fileno=start.fd), to_agent)
    settings = start.settings
    uplinks = [interface for _, interface in settings.physical_networks]

    events: list[RouterEvents] = []

    def open_kernel() -> Reconciler:
        _held.append(HostLock("agent", LOCK_WAIT_S))
        events.append(RouterEvents())
        return Reconciler(settings, events[0], require_guard=GuardWatch().require_for)

    await Driver(link, open_kernel, lambda: DriftWatcher(events[0], uplinks=uplinks)).run()


def _die_with_the_sentinel() -> None:
    """Also when this process hangs and cannot see the end of the local link. The routers stay."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # A sentinel that died before this line is seen as the end of the local link.


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors themselves, out of nested groups."""
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Threads may be in the middle of a kernel call; waiting for them here could outlast the sentinel's patience.
    os._exit(status)
