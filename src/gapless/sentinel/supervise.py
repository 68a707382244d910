"""Keeps one agent running: starts it, feeds it the plan, listens to it, and starts it again when it ends or hangs.

The agent is disposable. Its death moves no router and loses no packet; what it said stays valid until the next agent
has looked for itself. So there is one remedy for every kind of trouble: SIGKILL, a short pause, a new agent. And an
upgrade is no trouble: the agent is asked to end, and the next one is started from what is installed by then (`renew`).

The local link is fed by level: what the agent was last sent is remembered, and only the difference to the newest plan
goes out, however many plans came in between. An agent that does not read delays nobody but itself.
"""

import asyncio
import contextlib
import socket
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from gapless.core.backoff import Backoff, Pace
from gapless.core.hostplan import HostPlan
from gapless.errors import Unavailable
from gapless.kernel import refusals
from gapless.kernel.refusals import Trying
from gapless.model.host import AgentState
from gapless.model.plan import Revision
from gapless.observe.log import get_logger
from gapless.sentinel.desired import Desired
from gapless.sentinel.processes import give_up_first, how_it_ended
from gapless.wire.local import LocalLink
from gapless.wire.messages import (
    AgentAlive,
    AgentPlan,
    AgentReport,
    AgentUnable,
    Change,
    FromAgent,
    TakingOver,
    from_agent,
)

RESTART = Pace(first_s=0.05, most_s=5.0, settled_s=10.0)
_RENEWED = "it is started anew, as it was asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long an agent may be silent. Counted in ticks of a clock that stands still while the sentinel itself does,
    so that a machine that was suspended does not kill a healthy agent on waking up.
    """

    tick_s: float = 1.0
    start_ticks: int = 60
    """Until its first word: loading its libraries on a busy machine takes a while."""
    silent_ticks: int = 10
    busy_s: float = 120.0
    """For one piece of kernel work. The longest known, RTNL held by a mass deletion, is 20 s."""
    farewell_s: float = 5.0
    """For ending in an orderly way when asked to."""
    last_words_s: float = 1.0
    """For reading what an agent that ended had said: often that is why."""


class AgentListener(Protocol):
    """Who is told what the agent does and says."""

    def agent_is(self, state: AgentState, reason: str) -> None:
        """The agent's state changed."""

    def agent_said(self, report: AgentReport) -> None:
        """The agent reported on routers, from the plan that `Desired` had at version `report.revision`."""


@dataclass(slots=True)
class _Life:
    """What is known of the agent that runs now."""

    process: Process
    link: LocalLink[FromAgent]
    began_at: float
    ticks_silent: int = 0
    has_spoken: bool = False
    works: bool = False
    trouble: str = ""
    """Why it had to be killed, or why it gave up, in words for an operator."""
    is_given_up: bool = False
    """It was killed, and that was told."""
    was_heard_out: asyncio.Event = field(default_factory=asyncio.Event)
    """All that it said was read, and it can say no more."""

    def kill(self, trouble: str) -> None:
        self.trouble = self.trouble or trouble
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class Supervisor:
    """Runs agents, one after another, until cancelled. `command` gives the command line for a file descriptor."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        desired: Desired,
        listener: AgentListener,
        *,
        pace: Pace = RESTART,
        patience: Patience | None = None,
    ) -> None:
        self._command = command
        self._desired = desired
        self._listener = listener
        self._backoff = Backoff(pace)
        self._patience = patience or Patience()
        self._lives = 0
        self._taking_over = TakingOver(is_on=False)
        self._holding: asyncio.Event = asyncio.Event()
        self._renewal = asyncio.Event()
        """Somebody asked for an agent that is newer than the one that runs, or is waited for."""
        self._log = get_logger()

    def hold(self, taking_over: TakingOver) -> None:
        """Have agents leave this host the machine, or not any more."""
        if taking_over != self._taking_over:
            self._taking_over = taking_over
            self._holding.set()

    def renew(self) -> None:
        """Have the agent end in order, and another one started at once; that, too, where one is waited for."""
        self._renewal.set()

    @property
    def restarts(self) -> int:
        """How many agents followed another one."""
        return max(0, self._lives - 1)

    async def run(self) -> None:
        """Until cancelled; then the agent is asked to end, and killed if it does not."""
        while True:
            began_at = time.monotonic()
            self._renewal.clear()
            how = await self._one_life()
            if not self._renewal.is_set():
                lasted_s = time.monotonic() - began_at
                wait_s = self._backoff.after(lasted_s)
                self._log.warning(
                    f"agent ended ({how}) after {lasted_s:.1f} s; starting it again in {wait_s * 1000:.0f} ms; "
                    "routers go on forwarding"
                )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._renewal.wait()
            if self._renewal.is_set():
                self._backoff.reset()
                ended = {} if how == _RENEWED else {"ended": how}
                self._log.info("agent is started anew, as it was asked for; routers go on forwarding", **ended)

    async def _one_life(self) -> str:
        """Start an agent and stay with it until it is dead; returns how it ended."""
        try:
            life = await self._start()
        except OSError as error:
            how = f"it cannot be started: {refusals.why(error, Trying.START)}"
            self._listener.agent_is(AgentState.RESTARTING, how)
            return how
        self._log.info("agent started", pid=life.process.pid)
        try:
            status = await self._accompany(life)
        finally:
            await self._see_off(life)
        how = life.trouble or (_RENEWED if status is None else how_it_ended(status))
        if not life.is_given_up:
            self._listener.agent_is(AgentState.RESTARTING, how)
        return how

    def _give_up(self, life: _Life, trouble: str) -> None:
        """Kill an agent that does not work. That is told at once: in the kernel's hands it ends when they let it go."""
        life.kill(trouble)
        if not life.is_given_up:
            life.is_given_up = True
            self._listener.agent_is(AgentState.RESTARTING, life.trouble)

    async def _start(self) -> _Life:
        ours, its = socket.socketpair()
        link = await LocalLink.over(ours, from_agent)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(its.fileno()),
                pass_fds=(its.fileno(),),
                stdin=DEVNULL,
                # Out of the terminal's foreground group: Ctrl-C is for the sentinel, which ends the agent in order.
                process_group=0,
            )
        except BaseException:
            await link.close()
            raise
        finally:
            its.close()
        give_up_first(process.pid)
        self._lives += 1
        return _Life(process=process, link=link, began_at=time.monotonic())

    async def _accompany(self, life: _Life) -> int | None:
        """Stay with it until it has ended, or is to be renewed; its exit status, if it has one."""
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(each(life)) for each in (self._feed, self._hold, self._watch, self._listen)]
            ended = tasks.create_task(life.process.wait())
            renewal = tasks.create_task(self._renewal.wait())
            await asyncio.wait((ended, renewal), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._patience.last_words_s):
                        await life.was_heard_out.wait()
            for task in (*work, ended, renewal):
                task.cancel()
        return ended.result() if not ended.cancelled() else None

    async def _see_off(self, life: _Life) -> None:
        """Close the link, which asks the agent to end; make sure that it has, also where somebody waits for that no
        longer.
        """
        try:
            await life.link.close()
            async with asyncio.timeout(self._patience.farewell_s):
                await life.process.wait()
        except (TimeoutError, asyncio.CancelledError) as why:
            life.kill("it did not end when asked to")
            await life.process.wait()
            if isinstance(why, asyncio.CancelledError):
                raise

    async def _feed(self, life: _Life) -> None:
        """Bring the agent to the newest plan, and keep it there."""
        sent: HostPlan | None = None
        was_confirmed = False
        version = 0
        while True:
            await self._desired.newer_than(version)
            version, plan, confirmed = self._desired.version, self._desired.plan, self._desired.is_confirmed
            message = _whole(version, plan, confirmed=confirmed)
            if sent is not None and confirmed == was_confirmed:
                message = _difference(version, sent, plan)
            try:
                await life.link.send(message)
            except Unavailable:
                return  # it is ending; that is seen elsewhere
            sent, was_confirmed = plan, confirmed

    async def _hold(self, life: _Life) -> None:
        """Tell the agent when this host takes over, past whatever plan is on its way."""
        sent = TakingOver(is_on=False)
        while True:
            self._holding.clear()
            if sent != self._taking_over:
                sent = self._taking_over
                try:
                    await life.link.send(sent)
                except Unavailable:
                    return
                continue
            await self._holding.wait()

    async def _listen(self, life: _Life) -> None:
        try:
            while (message := await life.link.receive()) is not None:
                life.ticks_silent, life.has_spoken = 0, True
                self._heard(life, message)
        except Unavailable as error:
            self._give_up(life, str(error))
            return
        finally:
            life.was_heard_out.set()
        await asyncio.sleep(self._patience.farewell_s)
        self._give_up(life, "it closed its end of the local link and went on")

    def _heard(self, life: _Life, message: FromAgent) -> None:
        match message:
            case AgentAlive():
                if message.busy_s > self._patience.busy_s:
                    self._give_up(life, f"it hung: one piece of kernel work has taken {message.busy_s:.0f} s")
            case AgentUnable():
                life.trouble = message.reason
            case AgentReport():
                if not life.works and not life.is_given_up:
                    life.works = True
                    self._works(life)
                self._listener.agent_said(message)
            case _:
                assert_never(message)

    def _works(self, life: _Life) -> None:
        if self._lives > 1:
            self._log.info(f"agent works again, {time.monotonic() - life.began_at:.1f} s after it was started")
        self._listener.agent_is(AgentState.RUNNING, "")

    async def _watch(self, life: _Life) -> None:
        """Kill an agent that has not spoken for too many ticks."""
        while True:
            await asyncio.sleep(self._patience.tick_s)
            life.ticks_silent += 1
            most = self._patience.silent_ticks if life.has_spoken else self._patience.start_ticks
            if life.ticks_silent > most:
                self._give_up(life, f"it hung: it said nothing for {most * self._patience.tick_s:g} s")
                return


def _whole(version: int, plan: HostPlan, *, confirmed: bool) -> AgentPlan | Change:
    return AgentPlan(confirmed=confirmed, revision=Revision(version), routers=tuple(plan.routers.values()))


def _difference(version: int, sent: HostPlan, plan: HostPlan) -> Change:
    step = sent.difference_to(plan)
    return Change(revision=Revision(version), routers=step.routers, removed=step.removed)
