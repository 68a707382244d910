"""The command lines of a host's processes. Each is given its end of its link; everything else comes over that."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gapless.config import HostSettings
from gapless.observe.log import LogFormat
from gapless.wire.local import AgentStart, encode_start


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """How the processes of a host are started, each given its end of its link."""

    agent: Callable[[int], Sequence[str]]
    beat: Callable[[int], Sequence[str]]
    flows: Callable[[int], Sequence[str]] | None = None
    """None: connections are not copied."""


def flows_command(log_format: LogFormat) -> Callable[[int], Sequence[str]]:
    """The command line of a flows process, given its end of the local link; everything else comes over that."""
    return lambda fd: (sys.executable, "-P", "-m", "gapless.flows", str(fd), log_format.value)


def beat_command(fd: int) -> Sequence[str]:
    """The command line of a beat, given its end of its link; everything else comes over that."""
    return sys.executable, "-P", "-m", "gapless.sentinel.beat", str(fd)


def agent_command(settings: HostSettings, log_format: LogFormat) -> Callable[[int], Sequence[str]]:
    """The command line of an agent, given its end of the local link. `-P`: nothing is imported from where we stand."""
    return lambda fd: (
        sys.executable,
        "-P",
        "-m",
        "gapless.agent",
        encode_start(AgentStart(fd=fd, settings=settings, log_format=log_format.value)),
    )
