"""Breaking routers: what there is to break in each mode, and when a tap is guarded again."""

import sys
from dataclasses import dataclass, field

import pytest

import repair
from breakages import BREAKAGES, GUARD_ALTERED, SHARED, kinds_of
from gapless.kernel.netlink import Netlink
from gapless.model.observed import GUARDED_GROUP
from gapless.model.router import FailoverMode
from one_host import router


@dataclass
class FakeLink:
    group: int


@dataclass
class FakeHost:
    """Its taps become guarded one after another, with each look."""

    taps: list[str]
    looks: list[list[str]] = field(default_factory=list)

    def find(self, _: Netlink, names: list[str]) -> dict[str, FakeLink]:
        self.looks.append(names)
        right = self.taps[: len(self.looks) - 1]
        return {name: FakeLink(GUARDED_GROUP if name in right else 0) for name in names}


def host_with(monkeypatch: pytest.MonkeyPatch, *taps: str) -> FakeHost:
    host = FakeHost(list(taps))
    monkeypatch.setattr(repair.links, "find", host.find)
    return host


def test_only_a_guarded_router_has_a_guard_that_can_be_altered() -> None:
    assert kinds_of(FailoverMode.STANDBY) == list(BREAKAGES)
    assert set(BREAKAGES) - set(kinds_of(FailoverMode.RESCHEDULE)) == {GUARD_ALTERED}


def test_what_a_mode_does_not_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["repair.py", "--mode", "reschedule", "--kinds", "link-down,guard-altered"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit):
        repair.main()
    assert "mode reschedule has no breakage guard-altered: namespace-deleted, link-down" in capsys.readouterr().err


def test_all_that_a_mode_has_is_broken_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["repair.py"])
    assert repair._options().kinds == ",".join((*BREAKAGES, *SHARED))


def test_who_is_probed_first_is_spread_over_all() -> None:
    routers = [router(number) for number in range(100)]
    assert repair.to_probe(routers, 10) == routers[::10]
    everyone = repair.to_probe(routers, 100)
    assert (everyone[:10], sorted(it.id for it in everyone)) == (routers[::10], [it.id for it in routers])
    assert repair.to_probe(routers[:3], 3) == routers[:3]


def test_each_tap_is_looked_at_until_it_is_guarded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(monkeypatch, "tap1", "tap2")
    ends = repair.until_guarded(["tap2", "tap1"])
    assert host.looks == [["tap1", "tap2"], ["tap1", "tap2"], ["tap2"]]
    assert len(ends) == 2
    assert ends == sorted(ends)


def test_a_tap_that_stays_unguarded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    host_with(monkeypatch)
    with pytest.raises(TimeoutError, match="tap1 did not become guarded again"):
        repair.until_guarded(["tap1"], patience_s=0.0)
