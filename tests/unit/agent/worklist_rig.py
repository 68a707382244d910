"""An agent's worklist on a clock moved by hand, and short names for what goes in and out."""

from gapless.agent.hint import Hint
from gapless.agent.jobs import Done, Job, Reconcile, Remove, Result, Sweep
from gapless.agent.worklist import Worklist
from gapless.core.backoff import Backoff, Pace
from gapless.core.hostplan import HostPlan
from gapless.model.network import NetworkId
from gapless.model.plan import BuildTimes, PlannedRouter, Revision
from gapless.model.router import RouterId

TIMES = BuildTimes(started_ms=1, built_ms=2, announced_ms=3, verified_ms=4)
BUILT = Done(changed=True, times=TIMES, what="everything")
RIGHT = Done()


class Bench:
    """A worklist, a hand-driven clock, and short names for what goes in and out."""

    def __init__(self, *running: str) -> None:
        self.now = 1000.0
        self.worklist = Worklist(audit_period_s=100, new_backoff=lambda: Backoff(Pace(first_s=1, most_s=8)))
        self.worklist.take_running(frozenset(map(RouterId, running)))
        self.revision = 0

    def plan(self, *routers: PlannedRouter, confirmed: bool = True) -> None:
        self.revision += 1
        self.worklist.take_plan(HostPlan.of(Revision(self.revision), routers), confirmed=confirmed, now=self.now)

    def jobs(self, most: int = 100) -> list[Job]:
        """Jobs that may all start now, one after another."""
        jobs: list[Job] = []
        while len(jobs) < most and (job := self.worklist.next_job(self.now)) is not None:
            jobs.append(job)
        return jobs

    def end(self, job: Job, result: Result = BUILT, after_s: float = 0.0) -> None:
        self.now += after_s
        self.worklist.ended(job, result, self.now)

    def hear(self, router_id: str | None = None, *, network: str | None = None, ago_s: float = 0.0) -> None:
        about = RouterId(router_id) if router_id is not None else None
        on = NetworkId(network) if network is not None else None
        hint = Hint(heard_at=self.now - ago_s, router_id=about, network_id=on)
        self.worklist.take_hint(hint, self.now)

    def work_off(self, result: Result = BUILT) -> list[str]:
        """Everything that can be done now; returns the names of the jobs in order."""
        names = []
        while jobs := self.jobs(1):
            names.append(name(jobs[0]))
            self.end(jobs[0], result)
        return names

    def ailments(self) -> list[str]:
        report = self.worklist.take_report()
        return [] if report is None else [each.ailment for each in report.routers]

    def said(self) -> list[str]:
        report = self.worklist.take_report()
        if report is None:
            return []
        return sorted(f"{each.router_id}@{each.epoch} {each.state}" for each in report.routers) + ["full"] * report.full


def name(job: Job) -> str:
    match job:
        case Reconcile():
            return f"{job.why} {job.planned.router.id}"
        case Remove():
            return f"remove {' '.join(job.router_ids)}"
        case Sweep():
            return "sweep"
