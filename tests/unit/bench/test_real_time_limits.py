"""Whether labs take real-time priority themselves: their caller's limit says so, or that it may be raised."""

import resource

import pytest

import real_time


@pytest.mark.parametrize(
    ("hard", "may_raise", "take_it"),
    [(50, False, True), (99, False, True), (resource.RLIM_INFINITY, False, True), (0, True, True), (0, False, False)],
)
def test_by_limit_or_by_raising_it(monkeypatch: pytest.MonkeyPatch, hard: int, may_raise: bool, take_it: bool) -> None:
    limits = [(0, hard)]

    def setrlimit(_: int, wanted: tuple[int, int]) -> None:
        if not may_raise:
            raise ValueError("not allowed to raise maximum limit")
        limits.append(wanted)

    monkeypatch.setattr(real_time.resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(real_time.resource, "setrlimit", setrlimit)
    assert real_time.labs_take_it() is take_it
    assert limits[-1] == (0, hard), "it is as it was"
