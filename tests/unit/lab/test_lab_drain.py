"""The fault `drain`: how many routers leave at a time is the lab's setting."""

from typing import Any

import pytest

from gapless.errors import InvalidRequest
from gapless.lab.api import Api
from gapless.lab.faults.drains import Drain
from gapless.lab.lab import Lab
from gapless.lab.settings import LabSettings

AS_USUAL = 4


class Controller(Api):
    """Whose hosts have no routers, so that each drain is over as soon as it is asked for."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.pace = AS_USUAL
        self.is_in_service = True

    async def set_drain(self, host: str, *, wanted: bool, at_once: int | None = None) -> None:
        self.is_in_service = not wanted
        self.pace = self.pace if at_once is None else at_once

    async def drain(self, host: str) -> dict[str, Any]:
        return {"admin_state_up": self.is_in_service, "routers": 0, "leaving": 0, "on_their_way": 0}


@pytest.mark.parametrize(("asked", "paced"), [(0, AS_USUAL), (16, 16)])
async def test_routers_leave_as_many_at_a_time_as_was_asked_for(asked: int, paced: int) -> None:
    async with Lab(LabSettings(hosts=2, routers=0, at_once=asked)) as lab:
        await lab.api.close()
        lab.api = controller = Controller()
        fault = Drain([lab.host("host-1")])
        await fault.strike(lab)
        assert (controller.pace, controller.is_in_service) == (paced, False)
        await fault.heal(lab)
        assert (controller.pace, controller.is_in_service) == (paced, True)


def test_a_pace_that_no_controller_takes_and_too_few_probed_routers_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="a drain has 1 to 1000 routers leave at a time, not 1001"):
        LabSettings(at_once=1001)
    with pytest.raises(InvalidRequest, match="probes go through 1 to 1000 routers, not 0"):
        LabSettings(probed=0)
