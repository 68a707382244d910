"""The live view of a lab: hosts with their routers, and the traffic through each router as it comes and goes.

A listener that draws. On a terminal one picture is redrawn in place; elsewhere (a log file, CI) it prints a line when a
phase is over and, while something is broken, one a second.

The picture is drawn by a thread of its own while events come in: what changes is copied, at once, before it is drawn.
"""

import time
from collections import deque

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gapless.lab.findings import events
from gapless.lab.findings.events import LabEvent, Phase
from gapless.lab.findings.table import WORDS, over

HISTORY = 48
"""Pulses drawn for each router, the latest, where there is room for so many."""
LEAST_HISTORY = 8
_AROUND_HISTORY = len("silent for 100.0 s") + 3 * 4 + 4
"""Columns of a router's row that its name and its pulses do not have: words, room between, the frame."""
MOST_ROWS = 12
"""Routers drawn with a row of their own; the rest are summed up."""


class View:
    """Hears the lab's events; use as a context manager around the work."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._live = Live(self, console=console, refresh_per_second=8, transient=True)
        self._phase: Phase | None = None
        self._phase_began = time.monotonic()
        self._detail = ""
        self._progress = ""
        self._struck_at: float | None = None
        self._printed_at = 0.0
        self._names: dict[str, str] = {}
        self._placed: events.Placed | None = None
        self._traffic: events.TrafficSeen | None = None
        self._seen: dict[str, deque[bool]] = {}
        self._story: deque[Text] = deque(maxlen=8)

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def name_routers(self, names: dict[str, str]) -> None:
        """Router id -> name, for rows that people can read."""
        self._names = names

    def said(self) -> str:
        """What is going on, for a message when it is interrupted."""
        words = WORDS[self._phase] if self._phase else "starting"
        return ", ".join(filter(None, (words, self._detail, self._progress)))

    def __call__(self, event: LabEvent) -> None:
        """Hear one event."""
        match event:
            case events.PhaseBegan():
                self._enter(event)
            case events.Progressed():
                self._progress = f"{event.done} of {event.total}"
            case events.TrafficSeen():
                self._see(event)
            case events.Placed():
                self._notice_standing(event)
                self._placed = event
            case events.FaultStruck():
                self._struck_at = event.began
                self._tell(event.at, (event.description, "bold red"))
            case events.FaultHealed():
                self._tell(event.at, f"healed: {event.description}")
            case events.RouterMoved():
                name = self._names.get(event.router_id, event.router_id[:8])
                self._tell(
                    event.at, f"{name} is on {event.to_host} in the controller's list (was on {event.from_host})"
                )

    def _enter(self, event: events.PhaseBegan) -> None:
        if self._phase is not None:
            took = event.at - self._phase_began
            self._console.print(over(self._phase, took, self._progress or self._detail))
        self._phase, self._phase_began, self._detail, self._progress = event.phase, event.at, event.detail, ""

    def _see(self, event: events.TrafficSeen) -> None:
        self._traffic = event
        for router_id in event.silent_ms:
            answered = self._seen.setdefault(router_id, deque(maxlen=HISTORY))
            answered.append(router_id in event.answered)
        self._progress = f"{len(event.answered)} of {len(event.silent_ms)} routers answer"
        is_broken = self._struck_at is not None and self._phase is Phase.FAULT
        if is_broken and not self._console.is_terminal and event.at - self._printed_at >= 1.0:
            self._printed_at = event.at
            standing = ", ".join(f"{host} {word}" for host, word in self._standing().items())
            self._console.print(f"{self._clock(event.at)}  {self._progress}; {standing}", highlight=False)

    def _notice_standing(self, event: events.Placed) -> None:
        before = self._standing()
        for host, standing in event.standing_of.items():
            if before.get(host, standing) != standing:
                self._tell(event.at, f"the controller calls {host} ", (standing, "bold"))

    def _standing(self) -> dict[str, str]:
        return self._placed.standing_of if self._placed else {}

    def _tell(self, at: float, *parts: str | tuple[str, str]) -> None:
        line = Text.assemble(f"{self._clock(at)}  ", *parts)
        self._story.append(line)
        if not self._console.is_terminal:
            self._console.print(line)

    def _clock(self, at: float) -> str:
        return f"{at - self._struck_at:+7.1f} s" if self._struck_at is not None else "         "

    # -- drawing -------------------------------------------------------------------------------------------------

    def __rich__(self) -> RenderableType:
        took = time.monotonic() - self._phase_began
        now = Text.assemble(f"{self.said()}  ", (f"{took:.0f} s", "dim"))
        if self._struck_at is not None:
            now = Text.assemble((f"{time.monotonic() - self._struck_at:.1f} s after the fault", "bold"), "  ", now)
        parts: list[RenderableType] = [now]
        if self._placed:
            parts.append(self._hosts(self._placed))
        if self._traffic:
            parts.append(self._routers(self._traffic))
        return Panel(
            Group(*parts, *tuple(self._story)), title=Text(self._title), title_align="left", border_style="dim"
        )

    def _hosts(self, placed: events.Placed) -> Table:
        colours = {"alive": "green", "silent": "yellow", "dead": "red"}
        table = Table(box=None, padding=(0, 2), show_header=False)
        for host, standing in sorted(placed.standing_of.items()):
            mine = sorted(router for router, on in placed.host_of.items() if on == host)
            boxes = Text(" ").join(self._box(router, placed.state_of.get(router, "")) for router in mine[:24])
            more = f" +{len(mine) - 24}" if len(mine) > 24 else ""
            called = Text(standing, style=colours.get(standing, "cyan"))
            table.add_row(Text(host, style="bold"), called, boxes.append(more))
        return table

    def _box(self, router_id: str, state: str) -> Text:
        name = self._names.get(router_id, router_id[:6]).removeprefix("router-")
        answers = self._traffic is None or router_id in self._traffic.answered
        colour = "red" if not answers else "green" if state == "active" else "yellow"
        return Text(f"▣ {name}", style=colour)

    def _routers(self, traffic: events.TrafficSeen) -> Table:
        table = Table(box=None, padding=(0, 2), show_header=False)
        shown = list(traffic.silent_ms.items())[:MOST_ROWS]
        names = {router_id: self._names.get(router_id, router_id[:8]) for router_id, _ in shown}
        room = self._console.width - _AROUND_HISTORY - max(map(len, names.values()), default=0)
        for router_id, silent_ms in shown:
            lately = tuple(self._seen.get(router_id, ()))[-max(room, LEAST_HISTORY) :]
            marks = Text.assemble(*(("▪", "green") if seen else ("▫", "red") for seen in lately))
            words = "answers" if router_id in traffic.answered else f"silent for {max(0.0, silent_ms) / 1000:.1f} s"
            table.add_row(names[router_id], marks, words)
        rest = list(traffic.silent_ms)[MOST_ROWS:]
        if rest:
            answering = sum(router in traffic.answered for router in rest)
            table.add_row(f"and {len(rest)} more", "", f"{answering} answer")
        return table
