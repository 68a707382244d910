"""Takeovers with copied connections and with none: who is whose pair, what is made, and what is judged."""

import struct
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import entries
import made_flows
from entries_lab import Found, Measurement, Turn, count_in, is_present, requests, share
from entries_table import GAPS, paired, table, wrong
from gapless.flows.entries import entry_of, messages_in
from gapless.lab.findings.result import Spread, TakeoverTimeline, Timeline
from gapless.lab.rounds import Round, Rounds
from gapless.lab.settings import LabSettings
from lab_results import measured

TAKEN = TakeoverTimeline(whole=Spread(max=160), open=Spread(max=0.3), announce=Spread(max=4))


def one(number: int, gap_ms: float | None, *, ok: bool = True) -> Round:
    if gap_ms is None:
        return Round(number=number, fault="host-power", problem="nobody answers")
    result = msgspec.structs.replace(measured(gap_ms, gap_ms + 10, ok=ok), timeline=Timeline(takeover=TAKEN))
    return Round(number=number, fault="host-power", result=result)


def turn(number: int, *, kept: int = 1000) -> Turn:
    if is_present(number):
        return Turn(number=number, wanted=1000, copied=1003, kept=kept, copied_s=2.5)
    return Turn(number=number, wanted=0, copied=2, kept=3, copied_s=0.5)


def found(*gaps_ms: float | None, broken: str = "", kept: int = 1000) -> Found:
    numbers = range(1, len(gaps_ms) + 1)
    rounds = Rounds(rounds=[one(number, ms) for number, ms in zip(numbers, gaps_ms, strict=True)], broken=broken)
    return Found(rounds=rounds.summed(), turns=[turn(number, kept=kept) for number in numbers])


def test_pairs_follow_each_other_and_whoever_is_first_changes() -> None:
    assert [is_present(number) for number in range(1, 7)] == [True, False, False, True, True, False]
    gaps = paired(found(190, 180, 170, 200, 160, 165))[GAPS[0]]
    assert (gaps.without, gaps.present) == ([180, 170, 165], [190, 200, 160])


def test_a_pair_of_which_one_half_is_missing_or_bad_is_none() -> None:
    assert paired(found(190, 180, None, 200, 160))[GAPS[0]].present == [190]
    assert paired(found(190, 180, kept=999)) == {}
    whole = found(190, 180)
    whole.rounds.rounds[1] = one(2, 180, ok=False)
    assert paired(whole) == {}


def test_gaps_that_are_no_longer_than_they_may_be_are_called_so() -> None:
    said = table(found(198, 180, 180, 198), 1000, ["By a machine."])
    assert "| gap, median router | 2 | 180 | 198 | 1.100 | 1.100 to 1.100 | yes |" in said
    assert "| first beat missed → announced, worst router | 2 | 160 | 160 | 1.000 | 1.000 to 1.000 | – |" in said
    assert "had when the host was struck: 1,003; when the round was over: 1,000." in said
    assert "No round had a problem." in said
    assert said.endswith("\nBy a machine.\n")


def test_gaps_that_are_longer_are_a_problem_and_what_is_not_sure_is_not_called_so() -> None:
    slow = found(200, 180, 180, 200)
    assert "| 1.111 | 1.111 to 1.111 | no |" in table(slow, 1000, [])
    assert wrong(slow, 1000) == [
        "gap, median router: 1.111 times as long with 1,000 connections, and may be 1.1 times",
        "gap, worst router: 1.105 times as long with 1,000 connections, and may be 1.1 times",
    ]
    perhaps = found(220, 180, 180, 180, 180, 180)
    assert "by the median" in table(perhaps, 1000, [])
    assert wrong(perhaps, 1000) == []


def test_what_went_wrong_is_named_with_its_round() -> None:
    said = wrong(found(190, None, broken="the lab did not get well", kept=990), 1000)
    assert said == [
        "round 1: of 1,000 connections 990 were left",
        "round 2: nothing was measured: nobody answers",
        "the lab did not get well",
        "there is no pair of rounds to compare",
    ]


def test_connections_are_spread_over_routers_and_made_in_pieces() -> None:
    assert share(10, ["b", "a", "c"]) == {"b": 4, "a": 3, "c": 3}
    flows = [message for piece in requests(120) for message in messages_in(piece)]
    assert len(list(requests(120))) == 3
    assert len({message[20:72] for message in flows}) == 120


def test_what_is_made_is_what_hosts_copy() -> None:
    asked = made_flows.established(7)
    # A kernel tells the reply as it comes, so translated: to the gateway, and not to the inside.
    _, _, gateway, port = made_flows.parts(7)
    reply = asked[72:124]
    told = asked[:72] + reply[:20] + gateway + reply[24:48] + reply[48:50] + port + asked[124:]
    entry = entry_of(told)
    assert entry is not None
    assert not entry.is_over
    assert struct.pack(">I", 432_000) in entry.state


def test_the_kernel_counts_in_hex_and_the_same_on_each_line() -> None:
    assert count_in("entries  clashres found\n000186a3  00000000 00000001\n000186a3  00000000 00000002\n") == 100_003


def orders(count: int, routers: int = 2) -> Measurement:
    return Measurement(settings=LabSettings(hosts=2, routers=routers, packed=True), entries=count, pairs=1)


def test_more_than_hosts_copy_or_kernels_keep_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entries.tracked, "most", lambda: 1000)
    monkeypatch.setattr(entries.enter, "why_forbidden", lambda: "no namespaces here")
    assert entries.why_impossible(orders(140_000)) == (
        "140,000 connections through 2 routers are more than the 65,536 of each that are copied: take more routers"
    )
    assert str(entries.why_impossible(orders(4_000))).startswith("2,000 connections of a router are more than")
    assert entries.why_impossible(orders(1_000)) == "no namespaces here"


def test_the_file_has_every_round_without_each_router(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench/entries.py", "--entries", "1000", "--out", str(tmp_path)])
    monkeypatch.setattr(entries, "why_impossible", lambda _: None)
    monkeypatch.setattr(entries, "measured", lambda *_: msgspec.to_builtins(found(190, 180)))
    assert entries.main() == 0
    (file,) = tmp_path.glob("entries-*.json")
    whole: dict[str, Any] = msgspec.json.decode(file.read_bytes())
    assert whole["entries"] == 1000
    assert whole["paired"][GAPS[0]]["with"] == [190]
    assert [each["wanted"] for each in whole["turns"]] == [1000, 0]
    assert "per_router" not in whole["rounds"][0]["result"]["gap_ms"]
    assert "# Takeovers with copied connections" in capsys.readouterr().out
