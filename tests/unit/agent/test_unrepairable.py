"""How long it takes until a router that cannot be repaired is given up, on a clock moved by hand."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

import pytest
from kernel_in_memory import planned
from worklist_rig import BUILT

from gapless.agent.hint import Hint
from gapless.agent.jobs import Done, Failed, Job, Reconcile
from gapless.agent.worklist import PATIENT_TRIES, Worklist
from gapless.core.hostplan import HostPlan
from gapless.model.plan import Revision, RouterState
from gapless.model.router import RouterId

WORKERS = 2
BOUND_S = 0.5
"""From the first failed repair until it is told; the rest of a second is for the switchover."""


@dataclass
class Host:
    """An agent at its pace: its own waits, so many jobs at once, and some routers that no job repairs."""

    count: int
    lost: frozenset[str]
    job_s: float = 0.02
    """Of a repair; a few milliseconds where nothing else holds RTNL."""
    now: float = 1000.0
    worklist: Worklist = field(default_factory=Worklist)
    failures: dict[str, list[float]] = field(default_factory=dict)
    looked_at: dict[str, list[float]] = field(default_factory=dict)
    """And repaired, where that was to be done."""
    given_up: dict[str, float] = field(default_factory=dict)

    def build(self) -> None:
        names = [f"r{number}" for number in range(self.count)]
        self.worklist.take_plan(HostPlan.of(Revision(1), map(planned, names)), confirmed=True, now=self.now)
        while (job := self.worklist.next_job(self.now)) is not None:
            self.worklist.ended(job, BUILT, self.now)
        self.worklist.take_report()
        self.now += 5

    def break_all(self) -> None:
        self.break_these(f"r{number}" for number in range(self.count))

    def break_these(self, names: Iterable[str]) -> None:
        for name in names:
            self.worklist.take_hint(Hint(heard_at=self.now, router_id=RouterId(name)), self.now)

    def work(self, until: float) -> None:
        """Two jobs at a time, each as long; the clock goes on with them, or to when the next one is due."""
        at_work: list[tuple[float, Job]] = []
        while self.now < until:
            while len(at_work) < WORKERS and (job := self.worklist.next_job(self.now)) is not None:
                at_work.append((self.now + self.job_s, job))
            due = self.worklist.next_deadline() if len(at_work) < WORKERS else None
            self.now = min([until, *(at for at, _ in at_work), *([max(due, self.now + 0.001)] if due else [])])
            for each in [it for it in at_work if it[0] <= self.now]:
                at_work.remove(each)
                self._end(each[1])

    def _end(self, job: Job) -> None:
        name = job.planned.router.id if isinstance(job, Reconcile) else ""
        is_lost = name in self.lost
        if is_lost:
            self.failures.setdefault(name, []).append(self.now)
        else:
            self.looked_at.setdefault(name, []).append(self.now)
        result = Failed(reason="device busy") if is_lost else Done(looked_at=self.now)
        self.worklist.ended(job, result, self.now)
        report = self.worklist.take_report()
        for said in report.routers if report is not None else ():
            if said.state is RouterState.FAILED:
                self.given_up.setdefault(said.router_id, self.now)


@pytest.mark.parametrize("place", [0, 500, 999])
@pytest.mark.parametrize("count", [1, 1000])
def test_it_is_given_up_within_half_a_second_of_its_first_failure_however_many_broke_with_it(
    count: int, place: int
) -> None:
    name = f"r{place % count}"
    host = Host(count, frozenset({name}))
    host.build()
    host.break_all()
    host.work(until=host.now + 30)
    assert host.given_up.keys() == {name}
    assert host.given_up[name] == host.failures[name][PATIENT_TRIES]
    assert host.given_up[name] - host.failures[name][0] < BOUND_S


def test_of_many_that_cannot_be_repaired_each_is_given_up_after_its_tries() -> None:
    lost = frozenset(f"r{number}" for number in range(0, 100, 10))
    host = Host(100, lost)
    host.build()
    host.break_all()
    host.work(until=host.now + 10)
    assert host.given_up.keys() == lost
    assert max(host.given_up[each] - host.failures[each][0] for each in lost) < 2 * BOUND_S


def test_those_that_are_given_up_hold_up_no_repair_that_may_help_however_many_they_are() -> None:
    """Their tries alone are more than the workers can do: 400 of 50 ms, each 30 s at last."""
    lost = frozenset(f"r{number}" for number in range(400))
    host = Host(401, lost, job_s=0.05)
    host.build()
    host.break_these(sorted(lost))
    host.work(until=host.now + 60)
    assert host.given_up.keys() == lost
    broke_at = host.now
    host.break_these(["r400"])
    host.work(until=host.now + 30)
    repaired_at = min((at for at in host.looked_at.get("r400", []) if at > broke_at), default=inf)
    assert repaired_at - broke_at <= len(lost) * host.job_s / WORKERS, "one turn of each"
