"""Outside its namespaces the lab does nothing at all."""

import pytest

from gapless.errors import InvariantError
from gapless.lab.lab import Lab
from gapless.lab.machines import enter, netns, shell
from gapless.lab.settings import LabSettings


@pytest.fixture(autouse=True)
def _outside() -> None:
    assert not enter.is_inside()


async def test_no_command_is_run() -> None:
    with pytest.raises(InvariantError, match="machine's own networks"):
        await shell.run("true")


def test_no_namespace_is_made() -> None:
    with pytest.raises(InvariantError, match="machine's own networks"):
        netns.create("lab-test")


async def test_no_lab_is_built() -> None:
    async with Lab(LabSettings(hosts=1, routers=0)) as lab:
        with pytest.raises(InvariantError, match="machine's own networks"):
            await lab.build_nodes()


def test_a_machine_that_is_too_busy_to_enter_a_lab_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enter, "ENTERED_WITHIN_S", 0.01)
    monkeypatch.setattr(enter, "command", lambda _: ["sleep", "60"])
    reason = enter.why_forbidden()
    assert reason is not None
    assert "could not be entered within 0.01 s: this machine is busy" in reason
    assert "\n" not in reason
