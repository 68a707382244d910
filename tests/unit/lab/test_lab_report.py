"""The page and the story, from recordings made by hand: one router, one probe a direction, silent from 2 s to 3 s."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from gapless.lab import demo
from gapless.lab.findings import report, story
from gapless.lab.measuring.probes import Direction, Flow, Recording, Track
from gapless.model.plan import MoveKind

S = 1_000_000_000
STRUCK_NS = 2 * S
STRUCK = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ROUTER = "0b5a0f5e-0000-4000-8000-000000000001"


def track(direction: Direction, *, silent: range = range(20, 30)) -> Track:
    """Five seconds of a probe each 100 ms; requests numbered in `silent` are lost."""
    flow = Flow(router_id=ROUTER, direction=direction, netns="vm-1", source="10.0.0.5", target="198.51.100.10")
    sent = [1 + number * S // 10 for number in range(50)]
    return Track(flow, sent, [0 if number in silent else at + S // 1000 for number, at in enumerate(sent)])


def recording(*tracks: Track) -> Recording:
    return Recording(tracks=tracks, interval_ms=100.0, begin_ns=1, end_ns=5 * S, lateness_ms=0.5)


def move(kind: MoveKind, **seconds: float) -> dict[str, Any]:
    steps = [{"step": step, "at": (STRUCK + timedelta(seconds=at)).isoformat()} for step, at in seconds.items()]
    return {"router_id": ROUTER, "from_host": "host-2", "to_host": "host-1", "kind": kind, "timeline": steps}


def page(*tracks: Track, log: tuple[str, ...] = ()) -> report.Page:
    return report.Page(
        title="A <host> dies",
        summary="1 & 1",
        facts=[("interval", "100 ms")],
        recording=recording(*tracks),
        zero_ns=STRUCK_NS,
        names={ROUTER: "edge"},
        marks=[report.Mark(at_s=0.0, text="struck"), report.Mark(at_s=99.0, text="after the measurement")],
        log=log,
    )


FETCHING = {"src", "srcset", "href", "xlink:href", "data", "poster", "background", "action", "formaction", "ping"}
"""Attributes whose value is an address."""


class Reader(HTMLParser):
    """What a browser would fetch, and the text that it would show."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.text = ""
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.fetched += [value for name, value in attrs if name in FETCHING and value]
        for _, value in attrs:
            self._take_css(value or "")  # of `style`, and of what SVG takes a `url()` in: `fill`, `filter`, ...

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag == "style":
            self._take_css(data)
        self.text += data

    def _take_css(self, text: str) -> None:
        self.fetched += re.findall(r"url\([^)]*\)?|@import[^;]*|image-set\([^)]*\)?", text, re.IGNORECASE)


def fetched(text: str) -> list[str]:
    reader = Reader()
    reader.feed(text)
    return reader.fetched


def test_neighbours_of_one_fate_are_one_stretch() -> None:
    found = report.stretches(track(Direction.OUT), STRUCK_NS, 5 * S)

    assert [(each.answered, each.requests) for each in found] == [(True, 20), (False, 10), (True, 20)]
    assert [round(each.begin_s, 3) for each in found] == [-2.0, 0.0, 1.0]
    assert [round(each.end_s, 3) for each in found] == [0.0, 1.0, 3.0]


def test_a_request_that_was_never_sent_is_neither_answered_nor_lost() -> None:
    skipped = track(Direction.OUT, silent=range(0))
    sent = list(skipped.sent)
    sent[7] = 0

    found = report.stretches(Track(skipped.flow, sent, skipped.replied), STRUCK_NS, 5 * S)

    assert [(each.answered, each.requests) for each in found] == [(True, 49)]


@pytest.mark.parametrize(
    "text",
    [
        "<img src=a.png>",
        "<a href=https://example.org>",
        "<style>p { background: URL('a.png') }</style>",
        "<style>@import 'a.css';</style>",
        "<p style='background: url(a.png)'>",
        "<svg><rect fill='url(a.svg#b)'/></svg>",
    ],
)
def test_what_a_page_would_fetch_is_seen(text: str) -> None:
    assert fetched(text)
    assert not fetched("<style>p { color: red }</style><p>see url(a.png)</p>")


def test_the_page_needs_nothing_but_itself_and_shows_foreign_text_as_text() -> None:
    text = report.render(page(track(Direction.OUT), log=("<script>alert(1)</script>", "$title")))
    reader = Reader()
    reader.feed(text)

    assert reader.fetched == []
    assert "<script" not in text
    assert "A <host> dies" in reader.text
    assert "$title" in reader.text


def test_the_chart_has_a_bar_for_each_stretch_and_a_line_for_each_mark_inside() -> None:
    text = report.render(page(track(Direction.OUT), track(Direction.IN)))
    chart = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + len("</svg>")])
    bars = [bar.get("class") for bar in chart.iter("rect")]

    assert bars == ["answered", "lost", "answered"] * 2
    assert [line.get("class") for line in chart.iter("line")].count("mark") == 1
    lost = next(bar for bar in chart.iter("rect") if bar.get("class") == "lost")
    assert lost.findtext("title") == "+0.000 s to +1.000 s: 10 requests lost"


def test_the_story_is_in_time_order_and_tells_each_step_once() -> None:
    moves = [move(MoveKind.RESCHEDULE, last_heard=-0.2, decided=0.4, built=at) for at in (0.6, 0.7)]

    told = story.tell("host-2 dies", recording(track(Direction.OUT)), STRUCK_NS, STRUCK, moves)

    assert [moment.at_s for moment in told] == sorted(moment.at_s for moment in told)
    assert [moment.text.split(":")[0].split(" (")[0] for moment in told] == [
        "the controller hears from host-2 for the last time",
        "traffic stops",
        "host-2 dies",
        "the controller decides",
        "built",
        "traffic is back",
    ]
    built = next(moment for moment in told if moment.text.startswith("built"))
    assert (built.at_s, built.until_s) == (0.6, 0.7)
    assert "on host-1 (2 routers)" in built.text


def taken_over(late_s: float) -> list[dict[str, Any]]:
    """Two routers whose takeover took 160 ms; the first reply is 1.001 s after the fault."""
    steps = {
        "granted": 0.792,
        "missed": 0.842,
        "silent": 0.98,
        "decided": 0.981,
        "buried": 0.99,
        "opened": 1.0,
        "announced": 1.002,
        "forwarded": 1.0025,
    }
    dated = {step: at + late_s for step, at in steps.items()}
    return [move(MoveKind.TAKEOVER, **dated, confirmed=at) for at in (1.03, 1.04)]


@pytest.mark.parametrize("late_s", [0.0, 0.02])
def test_a_takeover_is_told_in_its_order_however_late_the_controller_heard_of_it(late_s: float) -> None:
    told = story.tell("host-2 dies", recording(track(Direction.OUT)), STRUCK_NS, STRUCK, taken_over(late_s))

    assert [moment.text.split(":")[0].split(" (")[0] for moment in told] == [
        "traffic stops",
        "host-2 dies",
        "the arbiters grant host-2 its lease for the last time",
        "the arbiters miss the first beat of host-2",
        "its lease is over",
        "claimed by host-1",
        "a quorum of arbiters has buried host-2",
        "the guards of host-1 let its routers pass",
        "traffic is back",
        "announced by gratuitous ARP",
        "their first packets are counted as forwarded by host-1",
        "the controller hears that they are active",
    ]
    ms = [moment.after_missed_ms for moment in told]
    assert ms[:2] + ms[8:9] + ms[-1:] == [None] * 4, "of those there is no successor's word"
    taken = [each for each in ms if each is not None]
    assert taken == pytest.approx([-50.0, 0.0, 138.0, 139.0, 148.0, 158.0, 160.0, 160.5])
    assert [" (2 routers)" in moment.text for moment in told][2:] == [False] * 5 + [True, False, True, True, True]


def test_of_a_takeover_of_which_only_the_result_is_known_no_claim_is_told() -> None:
    """Its successor died before it could tell of it."""
    moves = [move(MoveKind.TAKEOVER, decided=1.01, bound=1.02)]
    told = story.tell("host-2 dies", recording(track(Direction.OUT)), STRUCK_NS, STRUCK, moves)
    assert [moment.text for moment in told if "claim" in moment.text or "decides" in moment.text] == []


def test_a_step_is_told_with_when_it_was_by_the_first_missed_beat() -> None:
    def marked(after_missed_ms: float | None) -> str:
        return demo._marked(story.Moment(at_s=1.0, text="told", after_missed_ms=after_missed_ms))

    assert marked(160.04) == "told: 160.0 ms after the first beat missed"
    assert marked(-50.0) == "told: 50.0 ms before the first beat missed"
    assert [marked(0.0), marked(None)] == ["told", "told"]


def test_what_was_lost_is_told_however_late_requests_were_sent_at_some_time() -> None:
    late = replace(recording(track(Direction.OUT)), lateness_ms=900.0)
    told = [moment.text for moment in story.tell("host-2 dies", late, STRUCK_NS, STRUCK, [])]
    assert told[0] == "traffic stops: the last replies of 1 probe"
    assert told[-1] == "traffic is back: the first replies through the new hosts"


def test_a_sender_that_paused_lost_nothing() -> None:
    whole = track(Direction.OUT, silent=range(0))
    sent, replied = ([0 if 20 <= at < 30 else it for at, it in enumerate(each)] for each in (whole.sent, whole.replied))
    late = replace(recording(Track(whole.flow, sent, replied)), lateness_ms=1000.0)
    assert [moment.text for moment in story.tell("nothing", late, STRUCK_NS, STRUCK, [])] == [
        "nothing",
        "no probe noticed",
    ]


def test_a_fault_that_nobody_felt_is_told_as_such() -> None:
    told = story.tell("nothing", recording(track(Direction.OUT, silent=range(0))), STRUCK_NS, STRUCK, [])

    assert [moment.text for moment in told] == ["nothing", "no probe noticed"]
