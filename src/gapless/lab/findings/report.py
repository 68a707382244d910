"""A measurement as one self-contained page: the traffic of every probe over time, the story, the figures.

Inline SVG and CSS, no script and nothing fetched, so that the file can be mailed, kept and opened anywhere. Colours
follow the light or dark setting of who reads; what colour says is said in words too (`<title>` of each stretch, and the
table below).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from gapless.lab.measuring.probes import Recording, Track, gap, lost

_TEMPLATE = Path(__file__).with_suffix(".html")
WIDTH = 1080
LEFT = 150
RIGHT = 90
TOP = 28
ROW = 14
BOTTOM = 44
Scale = Callable[[float], float]
"""Seconds after the fault to a place on the chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened, `at_s` seconds after the fault (negative: before it)."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the page shows. `zero_ns`: the fault's time on the recording's clock; `names`: by router id."""

    title: str
    summary: str
    facts: Sequence[tuple[str, str]]
    recording: Recording
    zero_ns: int
    names: dict[str, str]
    marks: Sequence[Mark]
    log: Sequence[str]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a probe's time in which every request was answered, or none was; seconds after the fault."""

    begin_s: float
    end_s: float
    answered: bool
    requests: int


def stretches(track: Track, zero_ns: int, end_ns: int) -> list[Stretch]:
    """A probe's requests in order, neighbours of one fate joined. A stretch ends where the next begins."""
    found: list[Stretch] = []
    begin_ns, fate, requests = 0, True, 0
    for sent, replied in zip(track.sent, track.replied, strict=True):
        if not sent:
            continue
        if requests and bool(replied) is fate:
            requests += 1
            continue
        if requests:
            found.append(Stretch((begin_ns - zero_ns) / 1e9, (sent - zero_ns) / 1e9, fate, requests))
        begin_ns, fate, requests = sent, bool(replied), 1
    if requests:
        found.append(Stretch((begin_ns - zero_ns) / 1e9, (end_ns - zero_ns) / 1e9, fate, requests))
    return found


def render(page: Page) -> str:
    """The page as HTML text."""
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in page.facts)
    story = "".join(f"<tr><td class=t>{mark.at_s:+.3f} s</td><td>{escape(mark.text)}</td></tr>" for mark in page.marks)
    log = escape("\n".join(page.log))
    return Template(_TEMPLATE.read_text()).substitute(
        title=escape(page.title),
        summary=escape(page.summary),
        chart=_chart(page),
        facts=facts,
        story=story,
        table="".join(_row(page, track) for track in page.recording.tracks),
        log=log,
    )


def _row(page: Page, track: Track) -> str:
    longest = gap(track.replied, page.recording.begin_ns, page.recording.end_ns)
    cells = (
        _name(page, track),
        str(len(track.sent) - track.sent.count(0)),
        str(lost(track)),
        f"{longest.ms:.0f} ms",
        f"{(longest.begin_ns - page.zero_ns) / 1e9:+.3f} s",
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _name(page: Page, track: Track) -> str:
    router = page.names.get(track.flow.router_id, track.flow.router_id[:8])
    return f"{router} {'floating IP' if track.flow.direction == 'in' else 'SNAT'}"


def _chart(page: Page) -> str:
    recording = page.recording
    begin_s = (recording.begin_ns - page.zero_ns) / 1e9
    end_s = (recording.end_ns - page.zero_ns) / 1e9
    scale = (WIDTH - LEFT - RIGHT) / max(0.001, end_s - begin_s)
    height = TOP + ROW * len(recording.tracks) + BOTTOM

    def x(at_s: float) -> float:
        return LEFT + (at_s - begin_s) * scale

    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Traffic of every probe over time">']
    parts += _axis(begin_s, end_s, height, x)
    for number, track in enumerate(recording.tracks):
        top = TOP + ROW * number
        longest = gap(track.replied, recording.begin_ns, recording.end_ns)
        parts.append(f'<text x="{LEFT - 8}" y="{top + 10}" class="name">{escape(_name(page, track))}</text>')
        parts += [_bar(part, top, x) for part in stretches(track, page.zero_ns, recording.end_ns)]
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{top + 10}" class="gap">{longest.ms:,.0f} ms</text>')
    parts += [_line(mark, height, x(mark.at_s)) for mark in page.marks if begin_s <= mark.at_s <= end_s]
    parts.append("</svg>")
    return "\n".join(parts)


def _bar(part: Stretch, top: float, x: Scale) -> str:
    fate = "answered" if part.answered else "lost"
    left, right = x(part.begin_s), x(part.end_s)
    words = f"{part.begin_s:+.3f} s to {part.end_s:+.3f} s: {part.requests} requests {fate}"
    return (
        f'<rect x="{left:.2f}" y="{top + 1}" width="{max(0.6, right - left):.2f}" height="{ROW - 3}" class="{fate}">'
        f"<title>{words}</title></rect>"
    )


def _line(mark: Mark, height: float, at: float) -> str:
    return (
        f'<line x1="{at:.2f}" x2="{at:.2f}" y1="{TOP - 6}" y2="{height - BOTTOM + 6}" class="mark">'
        f"<title>{mark.at_s:+.3f} s: {escape(mark.text)}</title></line>"
    )


def _axis(begin_s: float, end_s: float, height: float, x: Scale) -> Iterable[str]:
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if (end_s - begin_s) / step <= 12)
    tick = -(-begin_s // step) * step
    base = height - BOTTOM
    while tick <= end_s:
        yield f'<line x1="{x(tick):.2f}" x2="{x(tick):.2f}" y1="{TOP}" y2="{base}" class="grid"/>'
        yield f'<text x="{x(tick):.2f}" y="{base + 18}" class="tick">{tick:+g} s</text>'
        tick += step
    yield f'<text x="{LEFT}" y="{base + 36}" class="note">seconds after the fault; longest gap at the right</text>'
