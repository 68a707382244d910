"""Outside its namespaces the lab does nothing at all."""

import pytest

from gapless.errors import GaplessError, InvariantError, Refused, Unavailable
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


@pytest.mark.parametrize(
    ("script", "kind", "reason"),
    [
        (f"echo a >&2; echo it is forbidden >&2; exit {enter.FORBIDDEN}", Refused, "it is forbidden"),
        ("echo a >&2; echo no memory >&2; exit 1", Unavailable, "no memory"),
        ("kill -9 $$", Unavailable, "the lab's namespaces cannot be entered"),
    ],
    ids=["forbidden", "failed", "killed"],
)
def test_only_a_machine_that_says_so_forbids_labs(
    monkeypatch: pytest.MonkeyPatch, script: str, kind: type[GaplessError], reason: str
) -> None:
    monkeypatch.setattr(enter, "command", lambda _: ["sh", "-c", script])
    with pytest.raises(kind, match=f"^{reason}$"):
        enter.try_it()
    assert enter.why_forbidden() == reason
