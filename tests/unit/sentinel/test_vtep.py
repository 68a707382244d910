"""When neighbours are told where this host's data address is."""

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address

from fake_controller import eventually

from gapless.errors import Unavailable
from gapless.model.host import Incarnation
from gapless.model.lease import NOBODY
from gapless.sentinel.vtep import AGAIN_S, Vtep

ADDRESS = IPv4Address("10.78.1.1")


class Wire:
    """Counts what was announced; refuses the first `refusals` times."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.told: list[tuple[str, IPv4Address]] = []

    def tell(self, interface: str, address: IPv4Address) -> None:
        self.told.append((interface, address))
        if len(self.told) <= self.refusals:
            raise Unavailable("announce 10.78.1.1 at data0: Network is down")


async def told(wire: Wire, say: Callable[[Vtep], None], times: int) -> None:
    """Say something, and wait until it was announced so often."""
    vtep = Vtep("data0", ADDRESS, wire.tell, again_s=(0.0,) * len(AGAIN_S))
    task = asyncio.create_task(vtep.run())
    say(vtep)
    await eventually(lambda: len(wire.told) >= times)
    await eventually(lambda: not vtep._has_begun.is_set())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_with_each_tenure_that_begins_and_again() -> None:
    wire = Wire()
    await told(wire, lambda vtep: vtep.tenure_is(Incarnation(3)), times=1 + len(AGAIN_S))
    assert set(wire.told) == {("data0", ADDRESS)}


async def test_not_for_a_tenure_that_goes_on_or_ends() -> None:
    wire = Wire()

    def say(vtep: Vtep) -> None:
        vtep.tenure_is(Incarnation(3))
        vtep._has_begun.clear()
        vtep.tenure_is(Incarnation(3))
        vtep.tenure_is(NOBODY)

    await told(wire, say, times=0)
    assert wire.told == []


async def test_what_cannot_be_announced_is_said_and_tried_again(log_lines: list[str]) -> None:
    wire = Wire(refusals=1)
    await told(wire, lambda vtep: vtep.tenure_is(Incarnation(3)), times=1 + len(AGAIN_S))
    (line,) = [each for each in log_lines if "are not told" in each]
    assert "address=10.78.1.1 reason='announce 10.78.1.1 at data0: Network is down'" in line
