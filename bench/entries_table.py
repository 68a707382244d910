"""What `entries.py` found, as a table: takeovers with so many copied connections beside takeovers with none. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from entries_lab import Found, Turn
from gapless.lab.findings.result import Result, TakeoverTimeline
from gapless.lab.rounds import Round
from measuring import spread
from paired import Paired

MOST_RATIO = 1.10
"""Gaps with connections may be so many times as long as those without."""
GAPS = ("gap, median router", "gap, worst router")
"""What is judged. The rest says where the time went."""


def figures(result: Result) -> Mapping[str, float | None]:
    """Of one takeover, in milliseconds. None where it was not measured."""
    taken = result.timeline.takeover or TakeoverTimeline()
    return {
        GAPS[0]: result.gap_ms.median,
        GAPS[1]: result.gap_ms.max,
        "first beat missed → announced, worst router": taken.whole.max,
        "of that: opened, worst router": taken.open.max,
        "of that: announced, worst router": taken.announce.max,
    }


def paired(found: Found) -> dict[str, Paired]:
    """Each figure, of the pairs of which both rounds measured it and were well otherwise."""
    pairs: dict[str, Paired] = {}
    both = zip(found.rounds.rounds, found.turns, strict=True)
    for first, second in zip(both, both, strict=False):  # so two and two
        values = {
            turn.present: figures(one.result) for one, turn in (first, second) if one.result and not wrong_of(one, turn)
        }
        if len(values) < 2:
            continue
        for name, without in values[False].items():
            present = values[True][name]
            if without and present:  # What rounds to nothing has no ratio.
                pair = pairs.setdefault(name, Paired())
                pair.without.append(without)
                pair.present.append(present)
    return pairs


def verdict(pairs: Paired) -> str:
    """Whether gaps are no longer than they may be: certain where the whole interval says the same."""
    _, most = pairs.interval
    if pairs.ratio > MOST_RATIO:
        return "no"
    return "yes" if most <= MOST_RATIO else "by the median"


def table(found: Found, entries: int, words: Sequence[str]) -> str:
    """Markdown. `words`: what stands below it."""
    pairs = paired(found)
    problems = wrong(found, entries)
    lines = [
        "# Takeovers with copied connections, and with none",
        "",
        *_how(found, entries),
        "",
        "| | pairs | with none | with them | with / without | 95 % | within 10 % |",
        "|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(_cells(name, of))} |" for name, of in pairs.items()),
        "",
        *_connections(found.turns),
        "",
        "Problems:" if problems else "No round had a problem.",
        "",
        *(f"- {problem}" for problem in problems),
        "",
        *(line for paragraph in words for line in (paragraph, "")),
    ]
    return "\n".join(lines)


def _how(found: Found, entries: int) -> Iterator[str]:
    results = [one.result for one in found.rounds.rounds if one.result]
    size = f"{results[0].routers} routers, probes each {results[0].probes.interval_ms:g} ms" if results else "no result"
    yield (
        f"2 hosts, {size}; the one on which all routers are active loses power, in turn with {entries:,} connections "
        "whose state was copied to the other one, and with none. Milliseconds: median (least to most). `with / "
        "without`: of two takeovers that followed each other, the median of all pairs, and where it lies with 95 % "
        "confidence, by bootstrap. A host dies at any time between two beats, which are 50 ms apart (timing fast: 10), "
        "so single gaps differ by as much."
    )


def _cells(name: str, of: Paired) -> list[str]:
    least, most = of.interval
    return [
        name,
        str(len(of.ratios)),
        *(spread(values) for values in (of.without, of.present)),
        f"{of.ratio:.3f}",
        f"{least:.3f} to {most:.3f}",
        verdict(of) if name in GAPS else "–",
    ]


def _connections(turns: Sequence[Turn]) -> Iterator[str]:
    """What was there, so that nobody has to believe it."""
    them = [turn for turn in turns if turn.present]
    if them:
        yield (
            f"Connections that the successor's kernel had when the host was struck: "
            f"{spread((turn.copied for turn in them), 0)}; when the round was over: "
            f"{spread((turn.kept for turn in them), 0)}. They were made and copied in "
            f"{spread(turn.copied_s for turn in them)} s. With none, when the round was over: "
            f"{spread((turn.kept for turn in turns if not turn.present), 0)}."
        )


def wrong_of(one: Round, turn: Turn) -> list[str]:
    """What is wrong with one round, a sentence each; such a round is no half of a pair."""
    if one.result is None:
        return [f"nothing was measured: {one.problem}"]
    lost = [f"of {turn.wanted:,} connections {turn.kept:,} were left"] if turn.kept < turn.wanted else []
    return [*one.result.problems, *lost]


def wrong(found: Found, entries: int) -> list[str]:
    """What does not hold, a sentence each."""
    rounds = zip(found.rounds.rounds, found.turns, strict=True)
    said = [f"round {one.number}: {problem}" for one, turn in rounds for problem in wrong_of(one, turn)]
    said += [found.rounds.broken] if found.rounds.broken else []
    pairs = paired(found)
    if not pairs:
        return [*said, "there is no pair of rounds to compare"]
    long = [name for name in GAPS if name in pairs and verdict(pairs[name]) == "no"]
    return [
        *said,
        *(
            f"{name}: {pairs[name].ratio:.3f} times as long with {entries:,} connections, and may be {MOST_RATIO:g} "
            "times"
            for name in long
        ),
    ]
