"""Gaps of many routers as one self-contained picture: a row for each case, a dot for each router, a logarithmic scale.

Inline SVG with its own style and nothing fetched; colours follow the light or dark setting of who looks. The figures
are written beside the dots, so that nothing is told by colour or place alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from gapless.lab.measuring.probes import percentile

WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 1080, 250, 200, 46, 30, 56

_STYLE = """
svg { color-scheme: light dark; --ink: #1d2330; --dim: #667085; --paper: #fff; --rule: #d9dee7; --dot: #2f6fde; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6e9ef; --dim: #98a2b3; --paper: #14171d; --rule: #333a46; --dot: #6ea0ff; }
}
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.title { font-size: 15px; font-weight: 600; }
.dim { fill: var(--dim); }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.paper { fill: var(--paper); }
.grid { stroke: var(--rule); }
.dot { fill: var(--dot); fill-opacity: .35; }
.median { stroke: var(--ink); stroke-width: 2; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case: the gap of each router of each run, in milliseconds."""

    label: str
    gaps_ms: Sequence[float]


def draw(title: str, rows: Sequence[Row]) -> str:
    """The picture as SVG text."""
    every = [max(gap, 1.0) for row in rows for gap in row.gaps_ms] or [1.0]
    least, most = floor(log10(min(every))), max(ceil(log10(max(every))), floor(log10(min(every))) + 1)
    height = TOP + ROW * len(rows) + BOTTOM

    def x(gap_ms: float) -> float:
        return LEFT + (log10(max(gap_ms, 1.0)) - least) / (most - least) * (WIDTH - LEFT - RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}"><style>{_STYLE}</style>',
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="16" y="24">{escape(title)}</text>',
    ]
    for power in range(least, most + 1):
        at, base = x(10.0**power), TOP + ROW * len(rows)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{base}"/>')
        parts.append(f'<text class="dim middle" x="{at:.1f}" y="{base + 18}">{_words(10.0**power)}</text>')
    for number, row in enumerate(rows):
        parts += _row(row, TOP + ROW * number + ROW / 2, [x(gap) for gap in row.gaps_ms], x)
    note = "each dot: the gap of one router; line: their median; at the right: median, 99th percentile, longest"
    parts.append(f'<text class="dim" x="16" y="{height - 14}">{note}</text></svg>')
    return "\n".join(parts) + "\n"


def _row(row: Row, y: float, places: Sequence[float], x: Callable[[float], float]) -> Iterable[str]:
    yield f'<text class="end" x="{LEFT - 14}" y="{y + 4:.1f}">{escape(row.label)}</text>'
    for number, (gap, place) in enumerate(zip(row.gaps_ms, places, strict=True)):
        offset = (number % 5 - 2) * 3  # dots at one place lie beside each other
        yield f'<circle class="dot" cx="{place:.1f}" cy="{y + offset:.1f}" r="3"><title>{_words(gap)}</title></circle>'
    median = x(percentile(row.gaps_ms, 0.5))
    yield f'<line class="median" x1="{median:.1f}" x2="{median:.1f}" y1="{y - 11:.1f}" y2="{y + 11:.1f}"/>'
    figures = (percentile(row.gaps_ms, 0.5), percentile(row.gaps_ms, 0.99), max(row.gaps_ms, default=0.0))
    yield f'<text x="{WIDTH - RIGHT + 14}" y="{y + 4:.1f}">{" · ".join(map(_words, figures))}</text>'


def _words(gap_ms: float) -> str:
    return f"{gap_ms / 1000:.3g} s" if gap_ms >= 1000 else f"{gap_ms:.3g} ms"
