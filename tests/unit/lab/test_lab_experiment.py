"""An experiment that is broken off: what it broke is whole again, once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import ClassVar

import pytest

from gapless.errors import InvalidRequest, Unavailable
from gapless.lab import experiment as experiments
from gapless.lab.experiment import experiment
from gapless.lab.faults.base import HARMLESS, Fault
from gapless.lab.findings.events import FaultStruck, LabEvent
from gapless.lab.findings.expect import Expected
from gapless.lab.lab import Lab
from gapless.lab.settings import LabSettings


class Measurement:
    """Traffic and capture at once, of nothing."""

    flows = ()
    interval_ms = 10.0

    async def begin(self) -> None: ...

    async def all_answered(self, *, for_s: float, timeout_s: float) -> None: ...


class Stage(Lab):
    """A lab in which there is nothing."""

    async def standbys_ready(self) -> None: ...

    async def placement(self) -> dict[str, list[str]]:
        return {}

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[Measurement]:  # type: ignore[override]
        yield Measurement()

    capture = traffic  # type: ignore[assignment]


class Lamp(Fault):
    """Writes down what is asked of it."""

    name = "lamp"
    summary = "a lamp is turned off"
    expected: ClassVar[Mapping[str, Expected]] = HARMLESS
    heals = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def strike(self, lab: Lab) -> None:
        self.asked.append("strike")

    async def heal(self, lab: Lab) -> None:
        self.asked.append("heal")

    async def let_go(self, lab: Lab) -> None:
        self.asked.append("let go")


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(experiments, "STEADY_S", 0.0)
    async with Stage(LabSettings(hosts=1, routers=0)) as lab:
        yield lab


def raising(error: BaseException) -> object:
    def listen(event: LabEvent) -> None:
        if isinstance(event, FaultStruck):
            raise error

    return listen


async def test_what_was_struck_is_healed_when_the_experiment_is_broken_off(stage: Stage) -> None:
    stage.listen = raising(ZeroDivisionError("a bug"))  # type: ignore[assignment]
    fault = Lamp()
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await experiment(stage, fault)
    assert fault.asked == ["strike", "heal", "let go"]
    assert not fault.is_on


async def test_what_was_struck_is_healed_when_the_experiment_is_cancelled(stage: Stage) -> None:
    struck = asyncio.Event()
    stage.listen = lambda event: struck.set() if isinstance(event, FaultStruck) else None
    fault = Lamp()
    running = asyncio.create_task(experiment(stage, fault, hold_s=1000))
    await struck.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert fault.asked == ["strike", "heal", "let go"]


class Half(Lamp):
    async def strike(self, lab: Lab) -> None:
        await super().strike(lab)
        raise Unavailable("only half of it")


async def test_what_was_struck_half_way_is_healed_before_anybody_looks_where_routers_are(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Half()

    async def looks(timeout_s: float = 0) -> None:
        assert fault.asked == ["strike", "heal", "let go"]
        raise ZeroDivisionError("that is all")

    monkeypatch.setattr(stage, "one_host_each", looks)
    with pytest.raises(ZeroDivisionError, match="that is all"):
        await experiment(stage, fault)
    assert fault.asked == ["strike", "heal", "let go", "let go"]


async def test_what_was_broken_counts_as_broken_until_the_experiment_is_over(stage: Stage) -> None:
    """So that its takeovers are not held against the machine by the next one."""
    stage.listen = raising(ZeroDivisionError("broken off"))  # type: ignore[assignment]
    began = stage.whole_since
    with pytest.raises(ZeroDivisionError):
        await experiment(stage, Lamp())
    assert stage.whole_since > began


async def test_traffic_through_no_router_is_refused() -> None:
    async with Lab(LabSettings(hosts=1, routers=0)) as lab:
        with pytest.raises(InvalidRequest, match="this lab has no router"):
            async with lab.traffic():
                pass


async def test_what_was_not_struck_is_not_healed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails() -> dict[str, list[str]]:
        raise Unavailable("nobody knows where routers are")

    monkeypatch.setattr(stage, "placement", fails)
    fault = Lamp()
    with pytest.raises(Unavailable, match="nobody knows"):
        await experiment(stage, fault)
    assert fault.asked == ["let go"]


class Stubborn(Lamp):
    async def heal(self, lab: Lab) -> None:
        raise Unavailable("the bulb is gone")


class Slow(Lamp):
    async def heal(self, lab: Lab) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        (Stubborn(), "and the fault goes on: the bulb is gone"),
        (Slow(), "and the fault goes on: there was no time to heal it"),
    ],
    ids=["stubborn", "slow"],
)
async def test_what_cannot_be_healed_does_not_hide_why_the_experiment_was_broken_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, fault: Lamp, note: str
) -> None:
    monkeypatch.setattr(experiments, "UNDONE_WITHIN_S", 0.01)
    stage.listen = raising(ZeroDivisionError("a bug"))  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        await experiment(stage, fault)
    assert caught.value.__notes__ == [note]
    assert fault.asked == ["strike", "let go"]


def test_a_fault_hurts_what_is_active_on_its_hosts_or_the_routers_that_it_chose() -> None:
    lamp = Lamp()
    assert lamp.hurts("r1", ["host-1"]), "a fault without hosts is to hurt all"
    lamp.hosts = (SimpleNamespace(name="host-1"), SimpleNamespace(name="host-2"))  # type: ignore[assignment]
    assert lamp.hurts("r1", ["host-2", "host-3"])
    assert not lamp.hurts("r1", ["host-3"])
    lamp.routers = frozenset({"r2"})
    assert lamp.hurts("r2", ["host-1"])
    assert not lamp.hurts("r1", ["host-1"])
