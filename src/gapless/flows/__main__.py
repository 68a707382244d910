"""The flows process: `python -m gapless.flows FD LOG-FORMAT`, started by the sentinel and nobody else.

FD is its end of the link to the sentinel, over which everything else comes: a command line can be read by everybody,
and the cluster's key is not for everybody. It ends when the sentinel does.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys

from gapless.errors import GaplessError, Unavailable
from gapless.flows.driver import Driver
from gapless.kernel.limits import allow_descriptors
from gapless.observe.log import LogFormat, configure, get_logger
from gapless.wire.flowlink import FlowsBegin, FlowsUnable, ToFlows, to_flows
from gapless.wire.local import LocalLink

PR_SET_PDEATHSIG = 1  # linux/prctl.h
BEGIN_WITHIN_S = 10.0
NICENESS = 5
"""Behind beat and agent: a copy that is a moment late costs nothing, a beat that is costs a takeover."""


def main() -> int:
    """Run until the sentinel ends; returns the exit status."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A Ctrl-C at the terminal is for the sentinel.
    os.nice(NICENESS)
    allow_descriptors()
    configure("flows", LogFormat(sys.argv[2]))
    return asyncio.run(_serve(int(sys.argv[1])))


async def _serve(descriptor: int) -> int:
    link: LocalLink[ToFlows] = await LocalLink.over(socket.socket(fileno=descriptor), to_flows)
    status = 0
    try:
        begin = await _begin(link)
        await Driver(link, begin).run()
    except* GaplessError as group:
        error = _first(group)
        get_logger().error("connections are not copied here", reason=str(error))
        await link.send(FlowsUnable(reason=str(error)))
        status = 1
    finally:
        await link.close()
    return status


async def _begin(link: LocalLink[ToFlows]) -> FlowsBegin:
    """The first message. Raises Unavailable when it does not come."""
    try:
        async with asyncio.timeout(BEGIN_WITHIN_S):
            message = await link.receive()
    except TimeoutError:
        message = None
    if not isinstance(message, FlowsBegin):
        raise Unavailable("the sentinel did not begin")
    return message


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
