"""What `takeover.py` found, as a table and as a document. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import drain_table
from measuring import spread
from takeover_cases import HOSTS, Case

Document = dict[str, Any]
"""`gapless.lab.rounds.Rounds`, as JSON."""
STEPS = ("silence", "claim", "open", "announce", "whole", "recorded")
_HEAD = (
    "case",
    "fault",
    "timing",
    "routers",
    "rounds",
    "moved",
    "gap",
    "gap, worst router",
    "at most",
    "worst router of all",
    "silence",
    "claim",
    "open",
    "announce",
    "in all",
    "recorded",
    "in all, last router",
    "gap, others",
    "taken over unstruck",
    "probed",
    "probes each",
    "skipped, %",
    "lost",
    "double active frames",
    "ok",
)


def table(found: Mapping[str, tuple[Case, Document]], words: Sequence[str]) -> str:
    """In Markdown. `words`: what stands below it."""
    takeovers = {name: each for name, each in found.items() if not each[0].is_drain}
    drains = {name: (case, document["rounds"]) for name, (case, document) in found.items() if case.is_drain}
    parts = [[*_takeovers(takeovers)] if takeovers else [], [*drain_table.lines(drains)] if drains else []]
    lines = [line for part in parts if part for line in (*part, "")]
    problems = [line for name, (case, document) in found.items() for line in wrong(name, case, document)]
    lines += ["Problems:" if problems else "No round had a problem.", ""]
    lines += [f"- {line}" for line in problems]
    return "\n".join([*lines, "", *(line for paragraph in words for line in (paragraph, ""))])


def _takeovers(found: Mapping[str, tuple[Case, Document]]) -> Iterator[str]:
    yield "# Takeovers"
    yield ""
    yield (
        f"{HOSTS} hosts. Each cell: median over the rounds (least to most), milliseconds. A round's figure is its "
        "median router, but for `worst router` and `last router`. Gaps are of routers that are probed, steps of all "
        "that were taken over, by the hosts' clocks; they count from one to the next, `in all` and `recorded` from the "
        "first beat that was missed. `at most`: what the longest gap may be; `gap, others`: the longest of "
        "routers that were not struck; `taken over unstruck`: routers taken over while nothing was broken, as this "
        "machine was too busy for the timing. `probed`: how many of all, each in one direction or both, of which the "
        "longer gap counts; `skipped`: probes that were late by a whole distance, and not sent. `ok`: rounds of which "
        "nothing was wrong, that bound included."
    )
    yield ""
    yield f"| {' | '.join(_HEAD)} |"
    yield f"|{'---|' * len(_HEAD)}"
    for name, (case, document) in found.items():
        yield from (f"| {' | '.join(cells)} |" for cells in _rows(name, case, document))


def _rows(name: str, case: Case, document: Document) -> Iterator[list[str]]:
    for fault in case.faults:
        rounds = [one for one in document["rounds"] if one["fault"] == fault]
        yield [name, fault, case.timing, str(case.routers), f"{len(rounds)} of {case.rounds}", *_cells(case, rounds)]


def _cells(case: Case, rounds: Sequence[Document]) -> list[str]:
    results = [one["result"] for one in rounds if one["result"]]
    if not results:
        return ["–"] * (len(_HEAD) - 5)
    taken = [one["timeline"]["takeover"] for one in results if one["timeline"]["takeover"]]
    worst = [one["gap_ms"]["max"] for one in results if one["gap_ms"]["max"] is not None]
    return [
        spread([one["moved"] for one in results]),
        spread([one["gap_ms"]["median"] for one in results]),
        spread(worst),
        f"{case.most_ms:g}" if case.most_ms else "–",
        f"{max(worst):,g}" if worst else "–",
        *(spread([each[step]["median"] for each in taken]) if taken else "–" for step in STEPS),
        spread(each["whole"]["max"] for each in taken),
        spread(one["gap_ms"]["bystanders"]["max"] for one in results),
        f"{sum(one['taken_over_before'] for one in results):,}",
        _probed(results[0]["probes"]),
        f"{results[0]['probes']['interval_ms']:g}",
        spread(_skipped_percent(one["probes"]) for one in results),
        f"{sum(one['probes']['lost'] for one in results):,}",
        ", ".join(sorted({str(one["double_active_frames"]) for one in results})),
        f"{sum(one['ok'] and not any(_missed(case, one)) for one in results)} of {len(rounds)}",
    ]


def _probed(probes: Document) -> str:
    """Through how many routers, and how many ways."""
    return f"{probes['routers']:,}, {'one way' if probes['flows'] == probes['routers'] else 'both ways'}"


def _skipped_percent(probes: Document) -> float | None:
    """Of all that were due."""
    due = probes["sent"] + probes["skipped"]
    return 100 * probes["skipped"] / due if due else None


def wrong(name: str, case: Case, document: Document) -> list[str]:
    """What does not hold, a sentence each."""
    found = []
    if document["broken"]:
        found.append(f"{name}: {document['broken']}")
    for one in document["rounds"]:
        where = f"{name}, round {one['number']}, {one['fault']}"
        if one["result"] is None:
            found.append(f"{where}: nothing was measured: {one['problem']}")
            continue
        result = one["result"]
        found += [f"{where}: {problem}" for problem in result["problems"]]
        found += [f"{where}: {problem}" for problem in _missed(case, result)]
    missing = case.rounds * len(case.faults) - len(document["rounds"])
    return [*found, *([f"{name}: {missing} rounds of {case.rounds * len(case.faults)} are missing"] if missing else [])]


def _missed(case: Case, result: Document) -> Iterator[str]:
    """What the case promises and the result does not keep, a sentence each, beside what the lab has judged."""
    if case.most_ms is not None and (result["gap_ms"]["max"] or 0) > case.most_ms:
        yield f"a gap was {result['gap_ms']['max']:g} ms, and may be {case.most_ms:g} ms"
    if result["taken_over_before"]:
        yield f"{result['taken_over_before']} routers had been taken over before it, while nothing was broken"
    yield from drain_table.wrong(case, result)
    if case.loses_none and result["probes"]["lost"] and not result["problems"]:
        yield f"{result['probes']['lost']} probes were lost, and none may be"


def figures(found: Mapping[str, tuple[Case, Document]]) -> list[Document]:
    """For the file. Each router's own gap is left out: in rounds that is a megabyte, which nobody reads."""
    return [{"case": name, **asdict(case), **_without_routers(document)} for name, (case, document) in found.items()]


def _without_routers(document: Document) -> Document:
    for one in document["rounds"]:
        if one["result"]:
            one["result"]["gap_ms"].pop("per_router", None)
    return document
