"""What `gapless rebalance` says has moved is what has arrived. The controller is made up, and time goes by looks."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from verb_rig import Run, Said

from gapless.cli import rebalance, talk
from gapless.errors import Unavailable

LATE_FOR_EVER = 10**9
Item = dict[str, Any]


@dataclass
class Fleet:
    """Routers on h1 that should be on h2, each with the number of looks after which it is there."""

    looks: dict[str, int]
    now: float = 0.0
    reason: str = "h2 is building it"
    begun: list[str] = field(default_factory=list)
    lands_on: str = "h2"
    gone: set[str] = field(default_factory=set)
    on_look: Callable[[], None] = lambda: None

    def get(self, _: str, path: str, **__: object) -> Item:
        if path == "rebalance":
            return {"rebalance": self.shifts()}
        self.on_look()
        for each in self.begun:
            self.looks[each] -= 1
        return {"routers": [self.router(each) for each in self.looks if each not in self.gone]}

    def put(self, _: str, __: str, body: Item) -> Item:
        begun = [each for each in self.shifts() if each["router_id"] not in self.begun][: body["rebalance"]["most"]]
        self.begun += [each["router_id"] for each in begun]
        return {"rebalance": begun}

    def shifts(self) -> list[Item]:
        way = {"from_host": "h1", "to_host": "h2", "is_ready": True}
        return [{"router_id": each} | way for each, looks in self.looks.items() if looks > 0]

    def router(self, router_id: str) -> Item:
        if self.looks[router_id] <= 0:
            return {"router_id": router_id, "name": "", "host": self.lands_on, "state": "active", "reason": ""}
        return {"router_id": router_id, "name": "", "host": "h1", "state": "active", "reason": self.reason}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


Even = Callable[..., Said]


@pytest.fixture
def even(run: Run, monkeypatch: pytest.MonkeyPatch) -> Even:
    """`gapless rebalance` of a fleet."""

    def call(fleet: Fleet, *arguments: str) -> Said:
        for name, made_up in (("get", fleet.get), ("get_patiently", fleet.get), ("put", fleet.put), ("time", fleet)):
            monkeypatch.setattr(rebalance, name, made_up)
        monkeypatch.setattr("gapless.cli.routers.get", fleet.get)
        return run("rebalance", *arguments)

    return call


def test_all_that_were_begun_arrive_some_at_a_time(even: Even) -> None:
    said = even(Fleet({"r1": 1, "r2": 5, "r3": 2}), "--at-once", "2")
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines() == [
        "h1 to h2: 3 routers",
        "2 of 3 routers moved",
        "3 routers moved. Watch: gapless status",
    ]


def test_one_that_does_not_arrive_is_not_counted_and_is_named_with_the_reason(even: Even) -> None:
    fleet = Fleet({"r1": 1, "r2": LATE_FOR_EVER, "r3": 1})
    said = even(fleet, "--at-once", "2")
    assert said.status == 1
    assert "2 routers moved. Watch" in said.out, "others are begun without it"
    assert said.err == "r2 did not arrive at h2: it is active on h1: h2 is building it\n"
    assert rebalance.ARRIVE_S <= fleet.now < 2 * rebalance.ARRIVE_S, "it is waited for so long, and no longer"


def test_one_that_is_active_elsewhere_has_not_arrived(even: Even) -> None:
    said = even(Fleet({"r1": 1}, lands_on="h3"))
    assert (said.status, said.err) == (1, "r1 did not arrive at h2: it is active on h3\n")
    assert "0 routers moved." in said.out


def test_one_that_was_deleted_has_not_arrived(even: Even) -> None:
    said = even(Fleet({"r1": 1, "r2": 1}, gone={"r2"}))
    assert (said.status, said.err) == (1, "r2 did not arrive at h2: it was deleted meanwhile\n")
    assert "1 router moved." in said.out


def test_where_none_of_those_begun_together_arrives_no_more_are(even: Even) -> None:
    fleet = Fleet(dict.fromkeys(("r1", "r2", "r3"), LATE_FOR_EVER))
    said = even(fleet, "--at-once", "2")
    assert (said.status, fleet.begun) == (1, ["r1", "r2"])
    assert said.err.splitlines()[-1] == "No more were begun; `gapless rebalance` goes on from here."


def test_one_that_comes_late_counts_after_all(even: Even) -> None:
    looks = int(rebalance.ARRIVE_S / rebalance.LOOK_S)
    said = even(Fleet({"r1": 1, "r2": looks + 2, "r3": 2}), "--at-once", "2")
    assert (said.status, said.err) == (0, "")
    assert "3 routers moved. Watch" in said.out


@pytest.mark.parametrize(("timeout", "begun"), [("0", []), ("3", ["r1"])])
def test_the_time_that_it_may_take_is_kept(even: Even, timeout: str, begun: list[str]) -> None:
    fleet = Fleet({"r1": LATE_FOR_EVER, "r2": 1})
    said = even(fleet, "--at-once", "1", "--timeout", timeout)
    assert (said.status, fleet.begun, fleet.now) == (1, begun, float(timeout))
    assert "0 routers moved." in said.out
    assert "No more were begun" in said.err


def test_for_scripts_those_that_arrived_and_those_that_did_not_are_apart(even: Even) -> None:
    said = even(Fleet({"r1": 1, "r2": LATE_FOR_EVER}), "--json")
    shown = json.loads(said.out)["rebalance"]
    assert said.status == 1
    assert [each["router_id"] for each in shown["to_move"]] == ["r1", "r2"]
    assert [each["router_id"] for each in shown["arrived"]] == ["r1"]
    assert [(each["router_id"], each["to_host"], each["reason"]) for each in shown["not_arrived"]] == [
        ("r2", "h2", "it is active on h1: h2 is building it")
    ]


def test_for_scripts_a_dry_run_moves_nothing(even: Even) -> None:
    fleet = Fleet({"r1": 1})
    said = even(fleet, "--json", "--dry-run")
    shown = json.loads(said.out)["rebalance"]
    assert (said.status, fleet.begun, len(shown["to_move"]), shown["arrived"]) == (0, [], 1, [])


def test_who_ends_it_hears_what_has_arrived_so_far(even: Even) -> None:
    fleet = Fleet({"r1": 1, "r2": LATE_FOR_EVER})

    def ends() -> None:
        if fleet.now > 2 * rebalance.LOOK_S:
            raise KeyboardInterrupt

    fleet.on_look = ends
    said = even(fleet, "--at-once", "1")
    assert said.status == 130
    assert "1 router moved so far. No more are begun; what is on its way arrives." in said.err


def test_a_controller_that_is_restarted_meanwhile_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, away = Fleet({}), iter([True, True, False])

    def ask(*_: object) -> Item:
        if next(away, True):
            raise Unavailable("away")
        return {"routers": []}

    monkeypatch.setattr(talk, "get", ask)
    monkeypatch.setattr(talk, "time", fleet)
    assert talk.get_patiently("api", "routers") == {"routers": []}
    with pytest.raises(Unavailable, match="away"):
        talk.get_patiently("api", "routers")
    assert fleet.now >= talk.PATIENCE_S
