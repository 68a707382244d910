"""The sentinel's shell: ties the control link, the plan on disk and the agent's supervisor together.

Plans come down the link, become the desired level, and from there go to the agent and to the disk. The agent's words
come up, become levels in `reporting`, and from there go up the link. Nothing here waits for anything else: a disk that
is slow delays the file, an agent that hangs delays its routers, a controller that is away delays the news.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gapless.config import HostSettings
from gapless.core.hostplan import HostPlan
from gapless.errors import GaplessError, Refused
from gapless.model.host import AgentState, HostFacts
from gapless.observe.log import LogFormat, get_logger
from gapless.sentinel.desired import Desired, keep_on_disk, load_plan
from gapless.sentinel.identity import Identity, StateDirectory
from gapless.sentinel.link import Credentials, Link, Tempo
from gapless.sentinel.reporting import Reporting
from gapless.sentinel.supervise import RESTART, Patience, Supervisor
from gapless.wire.local import AgentStart, encode_start
from gapless.wire.messages import AgentReport, Report

DOUBT_AFTER_INTERVALS = 1
"""Report intervals without a session until the plan is in doubt. The controller calls a host dead at the earliest four
intervals after its last report (agent_down_time is two or more of them, and dead is twice that). That report may be one
interval old when the link breaks, and the break is noticed up to one and a half later: doubt comes before any move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What tests set and operators do not."""

    tempo: Tempo | None = None
    patience: Patience | None = None


class Sentinel:
    """One host. It is the link's `Membership` and the supervisor's `AgentListener`."""

    def __init__(
        self,
        settings: HostSettings,
        state: StateDirectory,
        identity: Identity,
        facts: HostFacts,
        key: bytes,
        *,
        command: Callable[[int], Sequence[str]],
        knobs: Knobs | None = None,
    ) -> None:
        knobs = knobs or Knobs()
        self._state = state
        self._identity = identity
        self._desired = Desired(load_plan(state.plan_file))
        self._reporting = Reporting()
        self._report_is_sooner = asyncio.Event()
        self._report_interval_s = 0.0
        self._doubt: asyncio.TimerHandle | None = None
        credentials = Credentials(facts=facts, incarnation=identity.incarnation, key=key)
        self._link = Link(settings.server, credentials, self, knobs.tempo)
        self._supervisor = Supervisor(command, self._desired, self, pace=RESTART, patience=knobs.patience)
        self._log = get_logger()

    async def run(self) -> None:
        """Until cancelled. Then the agent is ended; routers stay as they are."""
        self._log.info(
            "sentinel started",
            instance=self._identity.instance,
            incarnation=self._identity.incarnation,
            cluster=self._identity.cluster,
            routers_on_disk=len(self._desired.plan.routers),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._supervisor.run())
            tasks.create_task(self._link.run())
            tasks.create_task(keep_on_disk(self._desired, self._state.plan_file))

    # --- from the control link

    @property
    def cluster(self) -> str | None:
        """The cluster that this host belongs to."""
        return self._identity.cluster

    async def joined(self, cluster: str) -> None:
        """First welcome ever: from now on this host belongs to that cluster."""
        self._identity = await asyncio.to_thread(self._state.join, self._identity, cluster)

    def welcomed(self, report_interval_s: float) -> None:
        """A session began. The doubt about the plan, if any, stays until the controller has said it."""
        self._report_interval_s = report_interval_s
        self._reporting.session_began(report_interval_s, time.monotonic())

    def planned(self, plan: HostPlan) -> None:
        """The controller said what this host should run."""
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None
        self._desired.follow(plan)
        self._reporting.planned(self._desired.version, plan.revision, time.monotonic())
        self._report_is_sooner.set()

    def parted(self, error: GaplessError) -> None:
        """There is no session. After a while, or at once when refused, the plan is no longer to be trusted."""
        self._reporting.session_ended()
        if not self._desired.is_confirmed:
            return
        if isinstance(error, Refused):
            self._fall_into_doubt()
        elif self._doubt is None:
            wait_s = DOUBT_AFTER_INTERVALS * self._report_interval_s
            self._doubt = asyncio.get_running_loop().call_later(wait_s, self._fall_into_doubt)

    def _fall_into_doubt(self) -> None:
        if not self._desired.is_confirmed:
            return
        self._desired.doubt()
        self._log.warning(
            "the controller may give this host's routers away by now: those that run go on and are kept right, nothing "
            "is built anew or removed until it speaks"
        )

    async def next_report(self) -> Report:
        """The next report that is due."""
        while True:
            self._report_is_sooner.clear()
            now = time.monotonic()
            if report := self._reporting.on_deadline(now):
                return report
            due_at = self._reporting.next_deadline()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due_at is None else due_at - now):
                    await self._report_is_sooner.wait()

    # --- from the agent

    def agent_is(self, state: AgentState, reason: str) -> None:
        """The agent's state changed."""
        self._reporting.agent_is(state, reason, time.monotonic())
        self._report_is_sooner.set()

    def agent_said(self, report: AgentReport) -> None:
        """The agent reported on routers."""
        self._reporting.agent_said(report, time.monotonic())
        self._report_is_sooner.set()


def agent_command(settings: HostSettings, log_format: LogFormat) -> Callable[[int], Sequence[str]]:
    """The command line of an agent, given its end of the local link. `-P`: nothing is imported from where we stand."""
    return lambda fd: (
        sys.executable,
        "-P",
        "-m",
        "gapless.agent",
        encode_start(AgentStart(fd=fd, settings=settings, log_format=log_format.value)),
    )
