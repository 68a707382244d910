"""The lab's words for people: what it is doing while it does it, and the result as a table."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from gapless.lab.findings import events, rounds_table
from gapless.lab.findings.events import LabEvent, Phase
from gapless.lab.findings.result import Result, Spread, Timeline
from gapless.lab.measuring.probes import Direction
from gapless.lab.measuring.survival import Survivals
from gapless.lab.rounds import Round
from gapless.observe.words import counted, figure

WORDS = {
    Phase.NODES: "switches, cables and machines",
    Phase.CONTROLLER: "controller",
    Phase.HOSTS: "hosts",
    Phase.TENANTS: "tenants",
    Phase.ROUTERS: "routers active",
    Phase.STANDBYS: "standbys ready",
    Phase.TRAFFIC: "traffic",
    Phase.STEADY: "measuring while nothing is broken",
    Phase.FAULT: "fault",
    Phase.BACK: "every probe is answered again",
    Phase.HEALED: "healed",
    Phase.RECOVERY: "well and even again",
    Phase.CHECK: "looking into every host",
    Phase.DONE: "done",
}

SHOW_LIFE_S = 15.0
_DIRECTIONS = {Direction.OUT: "VM to outside, through SNAT", Direction.IN: "outside to floating IP"}


class Narrator:
    """A listener that prints a line for each phase when it is over, and shows the present one with its progress."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._began = self._last_said = time.monotonic()
        self._phase: Phase | None = None
        self._detail = ""
        self._progress = ""

    def __call__(self, event: LabEvent) -> None:
        """Hear one event."""
        match event:
            case events.PhaseBegan():
                self._finish()
                self._phase, self._detail, self._progress = event.phase, event.detail, ""
                self._began = self._last_said = event.at
                if event.phase is not Phase.DONE:
                    self._show()
            case events.Progressed() if event.phase is self._phase:
                self._progress = f"{event.done} of {event.total}"
                self._show()
                self._show_life(event.at)
            case events.TrafficSeen() if self._phase in (Phase.FAULT, Phase.HEALED, Phase.TRAFFIC):
                self._progress = f"{len(event.answered)} of {len(event.silent_ms)} routers answer"
                self._show()
            case _:
                pass

    def said(self) -> str:
        """What is going on, for a message when it is interrupted."""
        words = WORDS[self._phase] if self._phase else "starting"
        return ", ".join(filter(None, (words, self._detail, self._progress)))

    def told(self, one: Round) -> None:
        """A round is over: say what came of it, in one line."""
        self.stop()
        self._console.print(
            Text.assemble(f"round {one.number}: {one.fault}: ", rounds_table.in_short(one)), soft_wrap=True
        )

    def stop(self) -> None:
        """Take the moving line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _show(self) -> None:
        if self._status is None and self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        if self._status is not None:
            self._status.update(Text(self.said()))

    def _show_life(self, now: float) -> None:
        """Where no line can move, a line now and then, of what takes long."""
        if not self._console.is_terminal and now - self._last_said >= SHOW_LIFE_S:
            self._last_said = now
            self._console.print(f"          {self.said()}", highlight=False, soft_wrap=True)

    def _finish(self) -> None:
        if self._phase is None:
            return
        seconds = time.monotonic() - self._began
        self._console.print(over(self._phase, seconds, self._detail))
        if self._phase is Phase.CHECK:
            self.stop()


def over(phase: Phase, seconds: float, detail: str) -> Text:
    """A phase that is over, in a line."""
    return Text.assemble((f"{seconds:6.1f} s", "dim"), f"  {WORDS[phase]}", (f"  {detail}" if detail else "", "dim"))


def _row(spread: Spread) -> tuple[str, str, str]:
    return figure(spread.median), figure(spread.p99), figure(spread.max)


def tables(result: Result) -> list[Table | Text | str]:
    """The result for people; print each with `Console.print`."""
    gap, probes, patience = result.gap_ms, result.probes, result.liveness
    measured = Table(
        title=f"{result.description}: {counted(result.hosts, 'host')}, {counted(result.routers, 'router')}",
        title_justify="left",
    )
    for column in ("milliseconds", "median", "p99", "max"):
        measured.add_column(column, justify="left" if column == "milliseconds" else "right")
    measured.add_row(
        f"gap of {counted(result.affected, 'router')} struck",
        *_row(Spread(median=gap.median, p99=gap.p99, max=gap.max)),
    )
    for direction, spread in gap.directions.items():
        measured.add_row(f"  {_DIRECTIONS[Direction(direction)]}", *_row(spread))
    if gap.waits.max is not None:
        measured.add_row("  a request lost or held up -> next reply", *_row(gap.waits))
    if result.routers > result.affected:
        measured.add_row(f"gap of the other {result.routers - result.affected}", *_row(gap.bystanders))
    if result.moved or result.timeline.takeover is not None:
        measured.add_section()
        for words, cells in _steps(result.timeline):
            measured.add_row(words, *cells)
    before = Text(
        f"{counted(result.taken_over_before, 'takeover')} before the fault, when nothing was broken: this "
        f"machine is too busy for the timing '{result.timing}'",
        style="yellow",
    )
    said = (
        f"{result.moved} of {result.routers} routers moved. {probes.sent:,} probes sent, {probes.lost:,} lost, at most "
        f"{max(probes.lost_of_routers.values(), default=0):,} of one router; "
        f"{counted(probes.flows, 'flow')} through {counted(probes.routers, 'router')}, a probe each "
        f"{probes.interval_ms:g} ms, at most {probes.lateness_ms_max:g} ms late. "
        f"Double active frames: {result.double_active_frames}, of {result.wire.frames:,} that routers sent. "
        f"Hosts report each {patience.report_interval_s:g} s and are dead after {patience.dead_after_s:g} s of silence."
    )
    talked = [] if result.connections is None else [_connections(result.connections)]
    return [measured, *talked, said, *([before] if result.taken_over_before else []), *verdict(result)]


def _steps(times: Timeline) -> list[tuple[str, tuple[str, str, str]]]:
    """Where the time of the moves went, by what they were: takeovers, switchovers, or moves to who had to build it."""
    if (taken := times.takeover) is not None:
        return [
            ("silence: first beat missed -> lease over", _row(taken.silence)),
            ("claim: -> a quorum has buried the host", _row(taken.claim)),
            ("open: -> the guard lets its routers pass", _row(taken.open)),
            ("announce: -> announced, one after another", _row(taken.announce)),
            ("first beat missed -> announced", _row(taken.whole)),
            ("open -> a packet seen as forwarded", _row(taken.forward)),
            ("first beat missed -> in the controller's store", _row(taken.recorded)),
        ]
    if (switched := times.switchover) is not None:
        return [
            ("bind: decided -> in the store", _row(switched.bind)),
            ("release: -> closed on the host that it leaves", _row(switched.release)),
            ("open: -> open on the host that gets it", _row(switched.open)),
            ("announce: -> announced", _row(switched.announce)),
            ("closed -> announced", _row(switched.dark)),
            ("open -> a packet seen as forwarded", _row(switched.forward)),
            ("decided -> controller knows", _row(switched.whole)),
            ("fault -> confirmed", _row(times.struck_to_confirmed)),
        ]
    return [
        ("detection: last heard -> decided", _row(times.detection)),
        ("bind: -> in the store", _row(times.bind)),
        ("send: -> plan sent", _row(times.send)),
        ("build: -> built (several at a time)", _row(times.build)),
        ("announce: -> announced", _row(times.announce)),
        ("confirm: -> controller knows", _row(times.confirm)),
        ("fault -> confirmed", _row(times.struck_to_confirmed)),
        ("build per router: first sent -> last built, divided", (figure(times.build_ms_per_router), "", "")),
    ]


def _connections(found: Survivals) -> Table:
    """What became of connections, kind by kind."""
    copied = "copied to successors" if found.synced else "not copied"
    table = Table(
        title=f"connections, their state {copied}; a line each {found.interval_ms:g} ms", title_justify="left"
    )
    for column in ("", "all", "survived", "stalled", "broken", "stall ms", "max"):
        table.add_column(column, justify="right" if column else "left")
    rows = {**found.struck, "not struck": found.bystanders}
    for words, each in rows.items():
        counts = (each.connections, each.survived, each.stalled, each.broken)
        table.add_row(
            words, *(f"{count:,}" for count in counts), f"{each.stall_ms_median:,.0f}", f"{each.stall_ms_max:,.0f}"
        )
    lost = [f"{words} {each.datagrams_lost:,} of {each.datagrams:,}" for words, each in rows.items() if each.datagrams]
    why = [f"{counted(count, 'connection')}: {reason}" for reason, count in found.reasons.items()]
    notes = [*([f"datagrams lost: {', '.join(lost)}"] if lost else []), *([f"broken: {'; '.join(why)}"] if why else [])]
    table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def verdict(result: Result) -> list[Text]:
    """Whether all is well, and what is not."""
    if result.ok:
        return [Text.assemble(("ok", "green"), ": traffic is back, and every router is active on exactly one host")]
    return [Text.assemble(("problem", "red"), f": {problem}") for problem in result.problems]


def summary(results: Sequence[Result]) -> Table:
    """Several runs of one experiment, a line each."""
    table = Table(title=counted(len(results), "run"), title_justify="left")
    for column in ("run", "gap median ms", "gap max ms", "moved", "lost", "verdict"):
        table.add_column(column, justify="right")
    for number, one in enumerate(results, 1):
        gaps = (figure(one.gap_ms.median), figure(one.gap_ms.max))
        cells = (number, *gaps, one.moved, one.probes.lost, "ok" if one.ok else "problem")
        table.add_row(*map(str, cells))
    return table
