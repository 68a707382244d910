"""A fault that routers should leave their host for lasts until they have."""

import pytest

from gapless.lab.api import Item
from gapless.lab.faults.namespaces import OneUnrepairable, Unrepairable
from gapless.lab.faults.processes import AgentUnable
from gapless.lab.lab import Lab
from gapless.lab.settings import LabSettings
from gapless.model.router import FailoverMode

Answers = list[list[Item]]


def lab_that_says(monkeypatch: pytest.MonkeyPatch, left: Answers, mode: FailoverMode = FailoverMode.STANDBY) -> Lab:
    """Its controller says the next of these each time that it is asked."""
    lab = Lab(LabSettings(mode=mode))

    async def routers() -> list[Item]:
        return left.pop(0)

    monkeypatch.setattr(lab.api, "routers", routers)
    return lab


def routers(*hosts: str) -> list[Item]:
    return [{"router_id": f"r{number}", "host": host} for number, host in enumerate(hosts)]


async def test_all_have_left_that_were_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [routers("host-1", "host-1", "host-2"), routers("host-3", "host-2", "host-2"), []]
    lab = lab_that_says(monkeypatch, left)
    await Unrepairable([lab.host("host-1")]).routers_left(lab)
    assert left == [[]]


async def test_one_that_is_struck_alone_is_waited_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [routers("host-2", "host-1"), []]
    lab = lab_that_says(monkeypatch, left)
    fault = OneUnrepairable([lab.host("host-1")])
    fault.routers = frozenset({"r0"})
    await fault.routers_left(lab)
    assert left == [[]]


async def test_where_nothing_should_move_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_that_says(monkeypatch, [], FailoverMode.RESCHEDULE)
    await AgentUnable([lab.host("host-1")]).routers_left(lab)
