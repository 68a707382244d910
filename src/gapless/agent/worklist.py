"""What the agent works on next. Pure: plans, findings and results in; jobs, reports and log lines out.

Rule 1: with a confirmed plan, what is no longer this host's goes first, but for what waits while others are handed over
(`agent.removals`). Nothing is built, and no standby repaired, before every removal that is due was tried once; one that
fails is tried again later and holds up nobody. Repairs of what forwards here take turns with removals, of which one is
at work at a time, and go beside it, for traffic waits for them.
Rule 2: an unconfirmed plan removes nothing and builds nothing that was not there: it may run elsewhere by now.
Rule 3: one router's work runs in sequence. A newer plan waits for the job at hand, then the work is done anew, and
what the older job achieved is told to nobody, but that something new is to be announced.
Rule 4: removals, and repairs of what forwards here; then all else that is to be done with what forwards here, repairs
and plans in turn; then the same for standbys, of which a few come in between (`agent.queues`); then a portion of the
sweep, unless a removal is put off; then audits. While this host takes over (`hold`) only that is begun which traffic
waits for: an opened router that is not built, and repairs of what forwards.

Rule 5: a router that forwards is not given up for one failure: FAILED makes the controller move it, which costs a gap,
while most failures pass. It stays what it was said to be for `PATIENT_TRIES` tries more, which wait for no other repair
(`agent.queues`), so that it moves within a second, however many broke with it; given up, it is tried again when the
turn is its own, and holds up nobody. A first build that fails is told at once: nobody forwards for that router.

Rule 6: a hint that was heard before a router's last look began is answered (`hint`). Looks at one router that hints ask
for keep a distance, which grows while they go on: who fights over a router with somebody fights slowly.

What is wanted and what is known are levels, kept per router; the queues only say which router to look at sooner.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from math import inf, isfinite
from random import Random

from gapless.agent.entry import Entry, differs_by_role, networks_of, way_out
from gapless.agent.hint import Hint
from gapless.agent.hold import Hold
from gapless.agent.jobs import Done, Failed, Job, Reconcile, Remove, Removed, Result, Sweep, Why
from gapless.agent.lines import Line, Lines, in_brief
from gapless.agent.progress import Progress
from gapless.agent.queues import Queues, Start
from gapless.agent.removals import Removals
from gapless.agent.sweeps import Sweeps
from gapless.agent.told import Told
from gapless.agent.turns import Turns
from gapless.core.backoff import Backoff, Pace
from gapless.core.dataplane.gateways import HEARS, Deafness
from gapless.core.hostplan import EMPTY_PLAN, HostPlan
from gapless.model.neighbour import WayOut
from gapless.model.network import Network
from gapless.model.plan import BuildTimes, PlannedRouter, RouterReport, RouterState
from gapless.model.router import RouterId
from gapless.observe.words import counted
from gapless.wire.messages import AgentReport

RETRY = Pace(first_s=0.1, most_s=30.0)
PATIENT_TRIES = 2
"""Tries after the first failure of a router that was active; with `RETRY` they are over after 0.3 s."""
REST = Pace(first_s=0.02, most_s=1.0, settled_s=2.0)
"""Between looks at one router that hints asked for; after `settled_s` of peace the next hint is followed at once."""


class Worklist:
    """The agent's decisions. `now` is monotonic seconds."""

    def __init__(self, *, audit_period_s: float = 10.0, new_backoff: Callable[[], Backoff] | None = None) -> None:
        self._random = Random(0)  # without jitter, it draws nothing
        self._new_backoff = new_backoff or (lambda: Backoff(RETRY, self._random))
        self._plan = EMPTY_PLAN
        self._is_confirmed = False
        self._entries: dict[RouterId, Entry] = {}
        self._queues = Queues()
        self._removals = Removals()
        self._progress = Progress()
        self._busy: dict[RouterId, float] = {}
        self._hold = Hold()
        self._was_held = False
        """Something waited for the end of the hold."""
        self._turns = Turns(audit_period_s)
        self._audited: RouterId | None = None
        self._was_repair = True
        """It is the turn of removals."""
        self._sweeps = Sweeps()
        self._full_report_is_due = False
        self._missing: Entry | None = None
        """Of which nothing was said yet when that was looked at last."""
        self._told = Told()
        self._lines = Lines()

    # --- what comes in

    def take_plan(self, plan: HostPlan, *, confirmed: bool, now: float) -> None:
        """A plan reached the host at `now`; it replaces the one before. Most name few of a thousand routers anew, and
        what they say of the others is known.
        """
        is_anew, before = confirmed != self._is_confirmed, self._plan.routers
        self._full_report_is_due |= confirmed and is_anew
        self._plan, self._is_confirmed = plan, confirmed
        self._removals.take_plan(plan.routers, now)
        named = [each for each in plan.routers.values() if is_anew or before.get(each.router.id) is not each]
        # Routers without a namespace first: nobody forwards for them.
        for planned in sorted(named, key=lambda each: self._entry(each.router.id).is_present):
            self._want(planned, now)
        if self._queues.builds:
            self._removals.put_nothing_off()
        for entry in [each for each in self._entries.values() if each.id not in plan.routers]:
            self._unwant(entry)
        if confirmed and (is_anew or self._removals.are_due or _needs_others(before, plan, named)):
            self._sweeps.take_networks(self._networks(), removes=self._removals.are_due)
        self._tell_progress(now)

    def take_running(self, running: frozenset[RouterId]) -> None:
        """What the kernel holds of ours: once before the first plan, then now and then."""
        for router_id in sorted(running - self._entries.keys()):
            entry = self._entry(router_id)
            entry.is_as_found, entry.tries_left = True, PATIENT_TRIES
        for entry in list(self._entries.values()):
            if entry.id in running:
                entry.is_present = True
                entry.has_run |= entry.id not in self._busy
                if entry.wanted is None:
                    self._unwant(entry)
            elif entry.verified is not None and entry.id not in self._busy:
                self._queues.drift(entry.id, forwards=self._forwards(entry))

    def take_hint(self, hint: Hint, now: float) -> None:
        """Something may have drifted. A network is mended by the first of its routers that is looked at."""
        if hint.router_id is not None:
            if (entry := self._entries.get(hint.router_id)) is not None:
                self._hear(entry, hint.heard_at, now)
            return
        concerned = [it for it in self._entries.values() if it.verified is not None and it.is_on(hint.network_id)]
        concerned.sort(key=self._forwards, reverse=True)
        first = next((it for it in concerned if it.id not in self._busy), None) if hint.network_id else None
        self._turns.hasten((it.id for it in concerned if it is not first), now)
        if first is not None:
            self._look_soon(first, now)

    def _hear(self, entry: Entry, heard_at: float, now: float) -> None:
        entry.heard_at = max(entry.heard_at, heard_at)
        if entry.wanted is None:
            self._removals.hurry(entry.id)
        if entry.verified is not None and entry.id not in self._busy and heard_at > entry.looked_at:
            self._look_soon(entry, now)

    def _look_soon(self, entry: Entry, now: float) -> None:
        if now < entry.rest_until:
            self._queues.drift_at(entry.id, entry.rest_until, forwards=self._forwards(entry))
        else:
            self._queues.drift(entry.id, forwards=self._forwards(entry))

    def take_deafness(self, found: Mapping[WayOut, Deafness], now: float) -> None:
        """Whether routers hear their gateways, those that still have that way out. One that was given up for that
        failed: the kernel is as it should be, and there is nothing to be tried again.
        """
        for way, deafness in found.items():
            entry = self._entries.get(way.router_id)
            if entry is None or entry.way_out != way or entry.deafness == deafness:
                continue
            if entry.wanted is None or not entry.wanted.forwards:
                continue  # It does not forward here any more, whatever it was verified as.
            was_given_up, entry.deafness = entry.deafness.is_given_up, deafness
            if deafness.is_given_up or was_given_up:
                self._say_how_it_is(entry, now)
            else:
                self._told.amend(entry.id, entry.epoch, ailment=entry.repairs.ailment(now) or entry.trouble)
            self._lines.deafness(entry.id, entry.epoch, deafness)

    def take_conflicts(self, found: Mapping[RouterId, str], now: float) -> bool:
        """Why addresses of these routers are in conflict (`core.dataplane.conflicts`), and of no others any more.

        Returns whether that is news.
        """
        changed = [each for each in self._entries.values() if each.conflict != found.get(each.id, "")]
        for entry in changed:
            entry.conflict = found.get(entry.id, "")
            self._told.amend(entry.id, entry.epoch, ailment=entry.repairs.ailment(now) or entry.trouble)
        return bool(changed)

    def hold(self, now: float, *, unbuilt: Collection[RouterId] | None) -> None:
        """This host takes over, with these routers open and not known to be built; None: it does not any more."""
        were_unbuilt = self._hold.unbuilt
        if unbuilt is not None:
            self._hold.begin(now, unbuilt)
        else:
            self._end_hold(now)
        for router_id in unbuilt or ():
            self._queues.role(router_id, forwards=True)
        for entry in [self._entries[each] for each in were_unbuilt - self._hold.unbuilt if each in self._entries]:
            self._queues.role(entry.id, forwards=self._forwards(entry))

    def _end_hold(self, now: float) -> None:
        lasted_s = self._hold.end(now)
        if self._was_held:
            self._lines.say(f"building and removing waited for {lasted_s * 1000:.0f} ms while this host took over")
        self._was_held = False

    # --- what goes out

    def next_job(self, now: float, *, urgent_only: bool = False) -> Job | None:
        """The most urgent job that may start now, or None if traffic does not wait for it and `urgent_only`. It is at
        work until `ended` is called with it.
        """
        if self._sweeps.is_running:
            return None
        self._queues.ripen(now)
        self._removals.ripen(now)
        start = partial(self._start, now=now)
        if self._hold.is_on(now):
            job = self._queues.next_in_turn(start, self._cannot_wait)
            self._was_held |= job is None and (self._queues.is_waiting or self._removals.are_due)
            return job
        if urgent_only:
            return self._queues.next_repair(start, self._is_repair)
        if self._removals.are_due:
            return self._repair_or_remove(start, now)
        return self._queues.next_in_turn(start, self._is_free) or self._due_sweep(now) or self._due_audit(now)

    def next_deadline(self) -> float | None:
        """When `next_job`, which has none now, may have a job though nothing comes in and no job ends; None: never. A
        hold puts off retries, too.
        """
        if self._sweeps.is_running:
            return None
        if (hold_ends := self._hold.next_deadline()) is not None:
            return hold_ends
        audit_at = self._turns.next_deadline() if self._may_audit() else None
        sweep_at = self._may_sweep_at()
        removal_at = self._removals.next_deadline()
        times = (self._queues.next_deadline(), removal_at, audit_at, sweep_at if isfinite(sweep_at) else None)
        return min((at for at in times if at is not None), default=None)

    def is_held(self, now: float) -> bool:
        """Whether what can wait waits, since this host takes over."""
        return self._hold.is_on(now)

    def ways_out(self) -> list[WayOut]:
        """Of routers that forward here, as far as the plan says, and are as they should be."""
        return [way for each in self._entries.values() if (way := each.way_out) is not None]

    def take_report(self) -> AgentReport | None:
        """What the sentinel has not heard yet. The revision tells which plan the decisions were made from."""
        full = self._full_report_is_due and self._is_settled()
        if full:
            self._full_report_is_due = False
            self._lines.tell_adopted()
        return self._told.take(self._plan.revision, full=full)

    def take_lines(self) -> list[Line]:
        """Log lines since the last call."""
        return self._lines.take()

    # --- how jobs ended

    def ended(self, job: Job, result: Result, now: float) -> None:
        """A job is over."""
        match job:
            case Sweep():
                if why_not := self._sweeps.ended(result, now):
                    # Harmless: what is left carries nothing. The next network that loses its last router sweeps again.
                    text = f"bridges that no router needs were not all removed: {why_not}"
                    self._lines.say(text, is_warning=True)
            case Remove():
                self._removals.is_running = False
                for router_id in job.router_ids:
                    self._remove_ended(self._entries[router_id], _why_left(router_id, result), now)
            case Reconcile():
                assert not isinstance(result, Removed)
                self._reconcile_ended(self._entries[job.planned.router.id], job, result, now)
                self._tell_progress(now)

    def _remove_ended(self, entry: Entry, why_left: str | None, now: float) -> None:
        self._busy.pop(entry.id)
        entry.ended_at = now
        self._removals.was_tried(entry.id)
        if why_left is None:
            entry.is_present = entry.has_run = entry.is_as_found = False
            entry.tries_left = 0
            entry.tries.reset()
        if entry.wanted is not None:
            self._queues.plan(entry.id, forwards=self._forwards(entry))
        elif why_left is None:
            self._lines.removed(entry.id)
            self._is_gone(entry)
            self._sweeps.again()  # When it was listed what goes, its taps may have been there.
        else:
            self._fail(entry, f"it is no longer this host's, and could not be removed: {why_left}", Why.PLAN, now)
        if not self._removals.are_due:
            self._lines.tell_removed()

    def _reconcile_ended(self, entry: Entry, job: Reconcile, result: Done | Failed, now: float) -> None:
        began_at = self._busy.pop(entry.id)
        if job.why is Why.DRIFT:
            entry.rest_until = now + entry.rest.after(began_at - entry.ended_at)
        entry.ended_at = now
        if self._audited == entry.id:
            self._audited = None
            self._turns.ended(began_at=began_at, now=now)
        entry.is_present = True  # after a failure, half of it may be
        self._look_whether_unannounced(entry, job.planned, result)
        was_verified, entry.verified = entry.verified, None
        wanted = entry.wanted
        is_new_role = wanted is not None and was_verified is wanted and differs_by_role(job.planned, wanted)
        if wanted is None or not (wanted == job.planned or is_new_role):
            return  # superseded: the newer wish is in a queue already
        if isinstance(result, Failed):
            self._fail(entry, result.reason, Why.PLAN if job.why is Why.PLAN else Why.DRIFT, now)
            return
        entry.verified, entry.looked_at = wanted, max(entry.looked_at, result.looked_at)
        entry.has_run = True
        entry.tries_left = PATIENT_TRIES
        entry.tries.reset()
        self._turns.looked_at(entry.id, now)
        is_build = job.why is Why.PLAN and was_verified is None and result.times is not None
        if result.changed and job.why is not Why.PLAN:
            entry.repairs.repaired(in_brief(result.what), now)
        self._say_how_it_is(entry, now, times=result.times if is_build else None)
        if result.changed:
            self._lines.changed(entry, job, result, is_build=is_build)
        elif job.why is Why.PLAN and self._full_report_is_due:
            self._lines.adopted()
        entry.is_as_found = False
        self._hear(entry, entry.heard_at, now)

    def _look_whether_unannounced(self, entry: Entry, planned: PlannedRouter, result: Done | Failed) -> None:
        """Who is guarded is announced by the beat, and not by whoever built it; be it superseded by now."""
        if isinstance(result, Failed):
            entry.is_unannounced = True
            return
        is_new, entry.is_unannounced = entry.is_unannounced or result.times is not None, False
        if is_new and planned.guarded is not None:
            self._told.unannounced(entry.id)

    def _say_how_it_is(self, entry: Entry, now: float, *, times: BuildTimes | None = None) -> None:
        """Of a router that is in the kernel as it should be."""
        if entry.deafness.is_given_up:
            self._say(entry, RouterState.FAILED, reason=entry.deafness.why)
        else:
            self._say(entry, RouterState.ACTIVE, times=times, ailment=entry.repairs.ailment(now) or entry.trouble)

    def _tell_progress(self, now: float) -> None:
        if not self._progress.is_due(self._queues.builds, now):
            return
        wanted = [each for each in self._entries.values() if each.wanted is not None]
        built = sum(each.verified is not None for each in wanted)
        failed = sum(self._told.has_said(each.id, each.epoch, RouterState.FAILED) for each in wanted)
        text, failing = f"built {built:,} of {counted(len(wanted), 'router')}", {"failed": failed} if failed else {}
        self._lines.say(text, is_warning=False, waiting=self._queues.builds, **failing)

    def _fail(self, entry: Entry, reason: str, why: Why, now: float) -> None:
        wait_s = entry.tries.after()
        is_patient = entry.wanted is not None and entry.tries_left > 0
        self._queues.again_at(entry.id, now + wait_s, why, forwards=self._forwards(entry), is_urgent=is_patient)
        self._turns.leave(entry.id)
        if is_patient:
            entry.tries_left -= 1
            text = f"router could not be brought to its plan; it is not given up, trying again in {wait_s:g} s"
            self._told.amend(entry.id, entry.epoch, ailment=f"it could not be repaired yet: {reason}")
        else:
            entry.tries_left = 0
            self._say(entry, RouterState.FAILED, reason=reason)
            text = f"router failed; trying again in {wait_s:g} s"
        self._lines.say(text, is_warning=True, router=entry.id, epoch=entry.epoch, reason=reason)

    # --- wishes

    def _entry(self, router_id: RouterId) -> Entry:
        if router_id not in self._entries:
            rest = Backoff(REST, self._random)
            self._entries[router_id] = Entry(id=router_id, tries=self._new_backoff(), rest=rest)
        return self._entries[router_id]

    def _want(self, planned: PlannedRouter, now: float) -> None:
        entry = self._entry(planned.router.id)
        self._removals.want(planned)
        if entry.wanted is None:  # It left the plan, and may have been at work or half removed since.
            self._told.forget(entry.id)
        if entry.wanted is None or not planned.forwards or way_out(entry.wanted) != way_out(planned):
            entry.deafness = HEARS
        if entry.verified is not None and entry.verified is entry.wanted and differs_by_role(entry.wanted, planned):
            entry.wanted, entry.verified, entry.epoch = planned, planned, planned.epoch
            self._queues.role(entry.id, forwards=self._forwards(entry))
            self._say_how_it_is(entry, now)
            return
        if entry.wanted is not None and (entry.wanted.guarded is None) != (planned.guarded is None):
            self._told.guards_no_more(entry.id)
        if entry.wanted != planned:
            entry.is_as_found &= entry.wanted is None
            entry.wanted, entry.epoch, entry.asked_at = planned, planned.epoch, now
            entry.tries.reset()
            entry.repairs.forget()
            self._queues.untime(entry.id)
        self._queues.role(entry.id, forwards=self._forwards(entry))
        if entry.verified != planned and not self._queues.is_timed(entry.id):
            self._queues.plan(entry.id, forwards=self._forwards(entry))

    def _unwant(self, entry: Entry) -> None:
        if entry.wanted is not None:
            entry.was_standby = entry.verified is entry.wanted and not entry.wanted.forwards
            entry.wanted = entry.verified = None
            entry.tries.reset()
            self._queues.untime(entry.id)
        self._turns.leave(entry.id)
        self._queues.unwant(entry.id)
        if self._queues.is_timed(entry.id) or not self._is_confirmed:
            return
        if entry.is_present or entry.id in self._busy:
            # A full report leaves out nothing that is there.
            self._removals.ask(entry.id, is_dark=entry.was_standby and not self._full_report_is_due)
        else:
            self._is_gone(entry)

    def _is_gone(self, entry: Entry) -> None:
        self._say(entry, RouterState.REMOVED)
        self._queues.forget(entry.id)
        self._removals.was_tried(entry.id)
        del self._entries[entry.id]

    def _say(
        self,
        entry: Entry,
        state: RouterState,
        *,
        reason: str = "",
        times: BuildTimes | None = None,
        ailment: str = "",
    ) -> None:
        is_guarded = entry.verified is not None and entry.verified.guarded is not None
        report = RouterReport(
            router_id=entry.id,
            epoch=entry.epoch,
            state=state,
            reason=reason,
            times=times,
            guarded=is_guarded,
            ailment=ailment,
        )
        self._told.say(report)

    def _is_settled(self) -> bool:
        """Whether a full report would leave out nothing that is, or may be, in the kernel.

        It is asked after each of a thousand jobs. So the router that was missing before is looked at first: the last of
        all, whose turn comes latest.
        """
        if self._removals.are_due or self._is_missing(self._missing):
            return False
        self._missing = next((each for each in reversed(self._entries.values()) if self._is_missing(each)), None)
        return self._missing is None

    def _is_missing(self, entry: Entry | None) -> bool:
        """Whether nothing was said of it, though it is, or may be, in the kernel."""
        if entry is None or self._entries.get(entry.id) is not entry:
            return False
        return entry.is_present and not self._told.has_said(entry.id, entry.epoch)

    # --- choosing

    def _is_free(self, router_id: RouterId, _: Why) -> bool:
        """Whether it is not at work; and one that is to be removed waits for the removal that is."""
        if router_id in self._busy:
            return False
        entry = self._entries.get(router_id)
        return not self._removals.is_running or entry is None or entry.wanted is not None

    def _forwards(self, entry: Entry) -> bool:
        """Whether this host forwards for it now: by its plan, or since it takes over."""
        return (entry.wanted is not None and entry.wanted.forwards) or entry.id in self._hold.unbuilt

    def _cannot_wait(self, router_id: RouterId, why: Why) -> bool:
        """Whether it is free, and people notice when this is done a little later."""
        is_unbuilt = router_id in self._hold.unbuilt and self._is_free(router_id, why)
        return is_unbuilt or self._is_repair(router_id, why)

    def _is_repair(self, router_id: RouterId, why: Why) -> bool:
        """Whether it is free, and may have drifted while it forwards here."""
        entry = self._entries.get(router_id)
        if entry is None or entry.wanted is None or router_id in self._busy:
            return False
        return why is Why.DRIFT and entry.wanted.forwards

    def _job_for(self, entry: Entry, why: Why) -> Reconcile | Remove | None:
        """What to do with a router, by its levels alone."""
        if entry.wanted is None:
            return Remove(router_ids=(entry.id,)) if self._is_confirmed else None
        if self._is_confirmed or entry.has_run:
            return Reconcile(planned=entry.wanted, why=why, asked_at=entry.asked_at)
        return None

    def _start(self, router_id: RouterId, why: Why, now: float) -> Job | None:
        """Begin what is to be done with a router; None: nothing."""
        if (entry := self._entries.get(router_id)) is None or (job := self._job_for(entry, why)) is None:
            return None
        self._busy[router_id] = now
        self._removals.is_running |= isinstance(job, Remove)
        has_failed = self._told.has_said(router_id, entry.epoch, RouterState.FAILED)
        # A retry stays FAILED, with its reason, until it succeeds; what runs stays what it is while it is looked at.
        if isinstance(job, Reconcile) and not entry.has_run and not has_failed:
            self._say(entry, RouterState.BUILDING)
        return job

    def _repair_or_remove(self, start: Start, now: float) -> Job | None:
        """In turn, so that neither many removals nor a storm of hints holds the other up."""
        removal = self._start_removals(now) if self._was_repair else None
        job = removal or self._queues.next_repair(start, self._is_repair) or self._start_removals(now)
        self._was_repair = isinstance(job, Reconcile)
        return job

    def _start_removals(self, now: float) -> Remove | None:
        """Begin to remove what a confirmed plan does not name, some at a time."""
        begun = self._removals.next(lambda router_id: self._is_free(router_id, Why.PLAN))
        if not begun:
            return None
        self._busy |= dict.fromkeys(begun, now)
        self._removals.is_running = True
        return Remove(router_ids=begun)

    def _due_sweep(self, now: float) -> Sweep | None:
        if self._may_sweep_at() > now:
            return None
        return self._sweeps.begin(self._networks(), now, forwards=self._forwards_any())

    def _may_sweep_at(self) -> float:
        """When a portion of a sweep may begin; infinity: not before something else is over."""
        if not self._sweeps.is_due or not self._is_confirmed or self._busy:
            return inf
        if self._removals.are_due or self._removals.are_put_off:
            return inf
        return self._sweeps.due_at(forwards=self._forwards_any())

    def _forwards_any(self) -> bool:
        return any(map(self._forwards, self._entries.values()))

    def _due_audit(self, now: float) -> Job | None:
        router_id = self._turns.due(now) if self._may_audit() else None
        if router_id is None:
            return None
        job = self._start(router_id, Why.AUDIT, now)
        if job is not None:
            self._audited = router_id
        return job

    def _may_audit(self) -> bool:
        """Whether the next one may begin as soon as it is due. A router at work is looked at by that work."""
        return self._audited is None and not self._removals.are_due and self._turns.first not in self._busy

    def _networks(self) -> frozenset[Network]:
        wanted = (each.wanted.router for each in self._entries.values() if each.wanted is not None)
        return frozenset(network for router in wanted for network in networks_of(router))


def _needs_others(before: Mapping[RouterId, PlannedRouter], plan: HostPlan, named: Collection[PlannedRouter]) -> bool:
    """Whether a plan may need other networks than the one before: it has other routers, or has one otherwise."""
    was = [before.get(each.router.id) for each in named]
    is_other = any(old is None or old.router != each.router for old, each in zip(was, named, strict=True))
    return is_other or not before.keys() <= plan.routers.keys()


def _why_left(router_id: RouterId, result: Result) -> str | None:
    """Why something is left of a router that was to be removed; None: nothing is."""
    match result:
        case Failed(reason=reason):
            return reason
        case Removed(left=left):
            return left.get(router_id)
        case Done():
            return None
