"""A guard that stands open while something is measured through it: and what is said where it did not."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from threading import Event

import pytest

import open_guard
from gapless.config import HostSettings
from gapless.errors import Conflict, Unavailable
from gapless.kernel import comm
from gapless.model.plan import Role
from gapless.model.router import FailoverMode
from one_host import Agent, bridges_of, is_guarded, of_mode, router
from open_guard import OpenGuard

PATIENCE_S = 60.0
SETTINGS = HostSettings(name="bench", state_dir=Path("/nonexistent"), key_file=Path("/nonexistent"))


class FakeGuard:
    def __init__(self) -> None:
        self.active: frozenset[str] = frozenset()
        self.failure: Exception | None = None
        self.wrong: Exception | None = None
        self.told: list[str] = []
        self.extended_by = ""
        self.extended = Event()
        self.refused = Event()

    def install(self) -> None:
        self.told.append("install")

    def extend(self, until_s: float) -> None:
        if self.failure is not None:
            self.refused.set()
            raise self.failure
        self.told.append("extend")
        self.extended_by = Path("/proc/thread-self/comm").read_text().strip()
        if self.told.count("extend") > 2:
            self.extended.set()

    def activate(self, names: Iterable[str]) -> None:
        self.active |= set(names)

    def deactivate(self, names: Iterable[str]) -> None:
        self.active -= set(names)

    def check(self) -> None:
        if self.wrong is not None:
            raise self.wrong

    def close(self) -> None:
        self.told.append("close")


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> FakeGuard:
    made = FakeGuard()
    monkeypatch.setattr(open_guard, "Guard", lambda: made)
    return made


def test_it_is_renewed_until_the_block_ends(guard: FakeGuard) -> None:
    with OpenGuard():
        assert guard.extended.wait(PATIENCE_S)
    assert guard.told[:2] == ["install", "extend"]
    assert guard.told[-1] == "close"


def test_it_is_renewed_under_the_name_of_a_beat_so_that_no_agent_is_woken(guard: FakeGuard) -> None:
    with OpenGuard():
        assert guard.extended.wait(PATIENCE_S)
    assert guard.extended_by == comm.BEAT


def test_only_what_is_named_is_open(guard: FakeGuard) -> None:
    with OpenGuard() as opened:
        opened.open_only(["tap1", "tap2"])
        opened.open_only(["tap2", "tap3"])
        assert guard.active == {"tap2", "tap3"}


def refused(guard: FakeGuard) -> None:
    with OpenGuard():
        guard.failure = Unavailable("no memory")
        assert guard.refused.wait(PATIENCE_S)


def test_a_renewal_that_failed_is_told_at_the_end(guard: FakeGuard) -> None:
    with pytest.raises(Unavailable, match="no memory"):
        refused(guard)
    assert guard.told[-1] == "close"


def test_a_guard_that_was_changed_is_told_at_the_end_and_hides_no_other_failure(guard: FakeGuard) -> None:
    with pytest.raises(Conflict, match="changed"), OpenGuard():
        guard.wrong = Conflict("the guard was changed")
    with pytest.raises(KeyError, match="another"), OpenGuard():
        raise KeyError("another")


def test_routers_are_guarded_where_there_is_a_guard_and_classic_elsewhere(guard: FakeGuard) -> None:
    routers = [router(1), router(2)]

    async def planned(held: OpenGuard | None) -> list[Role | None]:
        agent = Agent(SETTINGS, held)
        agent.plan(routers)
        return [each.guarded and each.guarded.role for each in agent._desired.plan.routers.values()]

    with OpenGuard() as opened:
        assert asyncio.run(planned(opened)) == [Role.ACTIVE, Role.ACTIVE]
    assert guard.active == {tap for it in routers for tap in bridges_of(it)}
    assert asyncio.run(planned(None)) == [None, None]


def test_results_say_the_mode() -> None:
    assert [is_guarded(mode) for mode in (FailoverMode.STANDBY, FailoverMode.RESCHEDULE)] == [True, False]
    assert of_mode(FailoverMode.STANDBY) == "Routers of mode standby: behind an open guard."
    assert of_mode(FailoverMode.RESCHEDULE) == "Routers of mode reschedule: there is no guard."
