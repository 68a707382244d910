"""Hosts that the controller hears and that hold no lease: one is cut off from the data network, one has an old disk."""

import json

import pytest
from chaos_lab import PATIENT_S, STANDBY, running_lab, strike

from gapless.lab.experiment import Outcome
from gapless.lab.faults import Fault
from gapless.lab.findings.expect import Bounds, Gap
from gapless.lab.lab import Lab
from gapless.lab.machines.nodes import STATE

pytestmark = pytest.mark.lab

BOUNDS = Bounds(gap_ms={Gap.TAKEOVER: 4_000, Gap.LASTS: 60_000, Gap.REPAIR: 60_000})
"""As in `chaos_takeovers`: a machine under load may be slow."""


async def test_a_standby_and_arbiter_without_data_network_is_replaced_before_the_active_host_dies() -> None:
    async with running_lab(hosts=4, routers=4, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        await strike(lab, "standby-cut-then-power", bounds=BOUNDS)


@pytest.mark.thorough
async def test_a_host_whose_disk_is_an_old_copy_rises_above_what_arbiters_have_heard() -> None:
    def rose(lab: Lab, fault: Fault, outcome: Outcome) -> None:
        del outcome
        (name,) = fault.names
        kept = json.loads((lab.host(name).machine.disk / STATE / "identity.json").read_bytes())
        assert kept["incarnation"] >= 4, "it was fenced twice before, and started from a copy of the first"

    async with running_lab(hosts=3, routers=3, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        await strike(lab, "old-disk", "host-2", bounds=BOUNDS, shows=rose)
