"""Hosts carry alike before the next round: the controller moves routers, and what it began is waited for."""

from collections.abc import Mapping
from typing import Any

import pytest

from gapless.lab.api import Item
from gapless.lab.lab import Lab
from gapless.lab.recovery import spread
from gapless.lab.settings import LabSettings


class Stage:
    """A lab whose controller finds some routers to move each time that it is asked; what is done is written down."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *shifts: Mapping[str, str], **settings: Any) -> None:
        self.lab = Lab(LabSettings(**settings))
        self.done: list[object] = []
        left = list(shifts)

        async def rebalance(most: int) -> list[Item]:
            found = left.pop(0) if left else {}
            assert len(found) <= most
            return [{"router_id": router_id, "to_host": host} for router_id, host in found.items()]

        async def routers_at(wanted: Mapping[str, str]) -> None:
            self.done.append(dict(wanted))

        async def standbys_ready() -> None:
            self.done.append("standbys are ready")

        monkeypatch.setattr(self.lab.api, "rebalance", rebalance)
        monkeypatch.setattr(self.lab, "routers_at", routers_at)
        monkeypatch.setattr(self.lab, "standbys_ready", standbys_ready)


async def test_what_was_begun_has_arrived_before_the_controller_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = {"r1": "c", "r2": "c"}, {"r3": "a"}
    stage = Stage(monkeypatch, first, second)
    assert await spread(stage.lab) == 3
    assert stage.done == [first, second, "standbys are ready"]


async def test_what_is_even_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    assert await spread(stage.lab) == 0
    assert stage.done == ["standbys are ready"]


@pytest.mark.parametrize("settings", [{"packed": True}, {"mode": "reschedule"}])
async def test_nothing_moves_where_hosts_are_not_to_be_even(
    monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, Any]
) -> None:
    stage = Stage(monkeypatch, {"r1": "c"}, **settings)
    assert await spread(stage.lab) == 0
    assert stage.done == []
