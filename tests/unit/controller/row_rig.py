"""What tests of the rows have in common: names of routers and moments, bindings, steps of moves."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shell_fakes import router_id

from gapless.controller.store import bindingrows, moverows
from gapless.controller.store.engine import Store
from gapless.core.effects import Bind
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, MoveStep

AT = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
R = router_id("r")


def ms(milliseconds: float) -> datetime:
    return AT + timedelta(milliseconds=milliseconds)


def bind_of(name: str, host: str, epoch: int, **other: Any) -> Bind:
    said: dict[str, Any] = {
        "previous_host": None,
        "leaving_host": None,
        "kind": MoveKind.SCHEDULE,
        "silent_s": None,
        "choice": "the only host",
        "reason": "it has no host",
        "cause": "e-1",
    }
    return Bind(router_id=router_id(name), host=HostName(host), epoch=Epoch(epoch), **{**said, **other})


async def bind(store: Store, *effects: Bind, at: datetime = AT) -> None:
    async with store.transaction() as session:
        await bindingrows.bind(session, [(effect, at) for effect in effects], at)


def taken(step: MoveStep, at: datetime, epoch: int = 1, router: str = "r") -> moverows.StepTaken:
    return moverows.StepTaken(router_id=router_id(router), epoch=Epoch(epoch), step=step, at=at, reason=f"{step} it is")


async def record(store: Store, epoch: int, step: MoveStep, at: datetime) -> moverows.RecordedStep | None:
    async with store.transaction() as session:
        (recorded,) = await moverows.record_steps(session, [taken(step, at, epoch)])
        return recorded
