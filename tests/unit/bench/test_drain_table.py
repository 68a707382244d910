"""Drains under load: how long routers were without traffic, by probes and by hosts, and what connections made of it."""

from typing import Any

import msgspec
import pytest

from gapless.lab.findings.result import Gaps, Probes, Result, Spread, SwitchoverTimeline, Timeline
from gapless.lab.measuring.survival import Survival, Survivals
from gapless.lab.rounds import Round, Rounds
from lab_results import result
from takeover_cases import CASES, Case
from takeover_table import table, wrong

CASE = Case(
    faults=("drain",),
    hosts=2,
    routers=6,
    flows=20,
    minutes=1,
    rounds=1,
    probed=2,
    interval_ms=2,
    at_once=16,
    most_dark_ms=5,
)
SURVIVED = Survivals(
    struck={
        "download": Survival(connections=12, survived=12, stall_ms_max=320),
        "idle": Survival(stall_ms_max=4000),
        "udp": Survival(connections=6, survived=6, stall_ms_max=150, datagrams=600, datagrams_lost=1),
    },
    bystanders=Survival(connections=2, survived=1, broken=1),
    synced=True,
)

DARK = Spread(median=1.5, max=3)


def drained(wait_ms: float = 4.5, dark: Spread = DARK, connections: Survivals | None = SURVIVED) -> Result:
    return msgspec.structs.replace(
        result(Timeline(struck_to_confirmed=Spread(max=2500), switchover=SwitchoverTimeline(dark=dark)), moved=6),
        gap_ms=Gaps(
            median=20,
            p99=30,
            max=30,
            per_router={},
            directions={},
            bystanders=Spread(),
            waits=Spread(median=0.5, max=wait_ms),
        ),
        probes=Probes(
            routers=2,
            flows=2,
            sent=1000,
            lost=3,
            skipped=0,
            interval_ms=2,
            lateness_ms_max=0.4,
            lost_of_routers={"r1": 1, "r2": 2},
        ),
        connections=connections,
    )


def document(found: Result | None, problem: str = "") -> dict[str, Any]:
    rounds = Rounds(rounds=[Round(number=1, fault="drain", result=found, problem=problem)])
    told: dict[str, Any] = msgspec.to_builtins(rounds.summed())
    return told


def test_the_table_says_what_routers_and_connections_lost() -> None:
    said = table({"drain": (CASE, document(drained()))}, ["By a machine."])
    (line,) = [line for line in said.splitlines() if line.startswith("| drain |")]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[:7] == ["drain", "2", "6", "16", "1 of 1", "6", "2.5"]
    assert cells[7:14] == ["1.5", "3", "0.5", "4.5", "5", "2", "0.4"]
    assert cells[14:17] == ["3 of 1,000", "2 of 2", "2"]
    assert cells[17:22] == ["20", "1", "0", "320", "1 of 600"]
    assert cells[22:] == ["0", "1 of 1"]
    assert "# Takeovers" not in said
    assert said.endswith("No round had a problem.\n\n\nBy a machine.\n")


def test_takeovers_and_drains_are_tables_of_their_own() -> None:
    power = Case(faults=("host-power",), routers=6, minutes=1, rounds=1)
    other = document(drained())
    other["rounds"][0]["fault"] = "host-power"
    said = table({"drain": (CASE, document(drained())), "power": (power, other)}, [])
    heads, lines = said.index("# Takeovers"), said.index("# Drains")
    assert heads < said.index("| power |") < lines < said.index("| drain |")


def test_the_longest_wait_of_a_probe_is_judged_and_not_the_gap() -> None:
    assert wrong("drain", CASE, document(drained(wait_ms=5))) == []
    assert wrong("drain", CASE, document(drained(wait_ms=5.1))) == [
        "drain, round 1, drain: a probe waited for 5.1 ms until its router answered again, and may for 5 ms "
        "(probes each 2 ms, up to 0.4 ms late)"
    ]


def test_what_the_hosts_say_is_judged_too_of_all_routers() -> None:
    assert wrong("drain", CASE, document(drained(dark=Spread(median=1, max=5.1)))) == [
        "drain, round 1, drain: a router was announced 5.1 ms after it was closed, by the hosts' clocks, and may be "
        "after 5 ms"
    ]
    assert wrong("drain", CASE, document(drained(dark=Spread()))) == [
        "drain, round 1, drain: no host has said when a router was closed and announced"
    ]


@pytest.mark.parametrize(
    "found", [drained(wait_ms=5.1), drained(dark=Spread(median=1, max=5.1)), drained(connections=None)]
)
def test_a_round_that_missed_a_bound_is_not_called_ok(found: Result) -> None:
    assert found.ok  # says the lab, which knows no bounds of cases
    said = table({"drain": (CASE, document(found))}, [])
    assert _last_cell(said, "drain") == "0 of 1"
    both = document(drained())
    both["rounds"] += document(found)["rounds"]
    assert _last_cell(table({"drain": (CASE, both)}, []), "drain") == "1 of 2"


def _last_cell(said: str, case: str) -> str:
    (line,) = [line for line in said.splitlines() if line.startswith(f"| {case} |")]
    return line.split("|")[-2].strip()


def test_connections_of_which_nothing_is_known_are_a_problem() -> None:
    found = document(drained(connections=None))
    assert wrong("drain", CASE, found) == ["drain, round 1, drain: what became of connections is not known"]
    assert "| – | – | – | – | – | 0 | 0 of 1 |" in table({"drain": (CASE, found)}, [])


def test_a_drain_that_measured_nothing_is_a_line_and_a_problem() -> None:
    found = document(None, "the hosts are not drained")
    said = table({"drain": (CASE, found)}, [])
    assert "| drain | 2 | 6 | 16 | 1 of 1 | – |" in said
    assert "- drain, round 1, drain: nothing was measured: the hosts are not drained" in said


def test_the_lab_is_asked_for_connections_and_pace() -> None:
    words = " ".join(CASE.argv)
    assert "--hosts 2 --routers 6" in words
    assert "--probed 2 --flows 20 --at-once 16 --fault drain --json" in words
    assert "--at-once" not in CASES["drain-100"].argv
    assert CASE.words == "1 rounds of drain; 6 routers, 20 connections, 16 at a time, timing default"
