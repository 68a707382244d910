"""What this host should run, as far as its sentinel knows: the level that the agent is brought to, and its file.

A plan that comes from the disk is not confirmed: it may have moved while this host was away. One that the controller
sent is confirmed as long as the controller can be heard; once it was silent for so long that it may soon count this
host as dead, the plan is in doubt again, and nothing new is built from it.

The file is readable JSON, whole or absent. It is written behind the agent's back, never before the agent has the plan;
and while one plan follows another, as on a host that routers move away from, for a tenth of the time: of 1,000 routers
it is a megabyte. So what is on the disk when this host stops may be older by the rest after a write, a second at most.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gapless.core.hostplan import EMPTY_PLAN, HostPlan
from gapless.errors import Unavailable
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger
from gapless.sentinel.durable import KeptFile
from gapless.wire.messages import AgentPlan, Malformed, encode_plan, to_agent

RETRY_S = 5.0
"""How long after a failed write the next one is tried."""
WRITE_SHARE = 0.1
"""So much of the time goes into writing while plans follow each other."""
REST_MOST_S = 1.0
"""Between two writes, however slow the disk is: a plan that is in doubt by then is not written."""


class Desired:
    """The newest plan, and whether it is confirmed. `version` grows with each change of either."""

    def __init__(self, plan: HostPlan = EMPTY_PLAN) -> None:
        self.plan = plan
        self.is_confirmed = False
        self.version = 1
        self._waiters: set[asyncio.Future[None]] = set()

    def follow(self, plan: HostPlan) -> None:
        """The controller spoke."""
        self._become(plan, confirmed=True)

    def doubt(self) -> None:
        """The controller may have given this host's routers away by now."""
        if self.is_confirmed:
            self._become(self.plan, confirmed=False)

    def _become(self, plan: HostPlan, *, confirmed: bool) -> None:
        self.plan, self.is_confirmed = plan, confirmed
        self.version += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def newer_than(self, version: int) -> None:
        """Return once there is a version after this one."""
        while self.version <= version:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)


def load_plan(file: KeptFile) -> HostPlan:
    """The plan kept in it; an empty one where there is none. A file that is no plan is set aside, never fatal."""
    try:
        return file.read(_plan) or EMPTY_PLAN
    except Unavailable as error:
        get_logger().warning("the plan on disk cannot be read; waiting for the controller's", reason=str(error))
    except Malformed as error:
        _set_aside(file.path, str(error))
    return EMPTY_PLAN


def _plan(content: bytes) -> HostPlan:
    message = to_agent.decode(content)
    if not isinstance(message, AgentPlan):
        raise Malformed("it holds another message")
    return HostPlan.of(message.revision, message.routers)


def _set_aside(path: Path, reason: str) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    log = get_logger()
    try:
        path.replace(aside)
    except OSError as error:
        reason = f"{reason}; and it cannot be renamed: {error.strerror}"
    log.warning(
        "the plan on disk is damaged and was set aside; waiting for the controller's", file=aside, reason=reason
    )


async def keep_on_disk(
    desired: Desired,
    file: KeptFile,
    retry_s: float = RETRY_S,
    *,
    kept: Callable[[int], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Write each confirmed plan to `file`, the newest only, until cancelled; `kept` is told the version that the disk
    has. A full disk is said and tried again. `clock` tells seconds, and `rest` lets some pass.
    """
    log = get_logger()
    written: HostPlan | None = None
    trouble = Ailment()
    version = 0
    while True:
        await desired.newer_than(version)
        version, plan = desired.version, desired.plan
        if plan is written:
            kept(version)
        if plan is written or not desired.is_confirmed:
            continue
        began_at = clock()
        try:
            # Encoding 1,000 routers takes 20 ms and the disk as long as it likes: neither may hold up the link.
            await asyncio.to_thread(_save, file, plan)
        except Unavailable as error:
            what = "the plan cannot be kept on disk; a restart would begin with an older one"
            trouble.persists(log.error, what, reason=str(error))
            version = 0
            await asyncio.sleep(retry_s)
            continue
        trouble.ends(log.info, "the plan is kept on disk again")
        written = plan
        kept(version)
        await rest(min(REST_MOST_S, (clock() - began_at) * (1 / WRITE_SHARE - 1)))


def _save(file: KeptFile, plan: HostPlan) -> None:
    kept = AgentPlan(confirmed=False, revision=plan.revision, routers=tuple(plan.routers.values()))
    file.write(encode_plan(kept) + b"\n")
