"""What hosts do meanwhile, with real processes: their figures, asked on the host; routers that become guarded ones."""

import sys

import pytest
from chaos_lab import CLASSIC, PATIENCE_S, PATIENT_S, STANDBY, running_lab, strike
from prometheus_client.parser import text_string_to_metric_families

from gapless.lab.lab import Lab
from gapless.lab.machines.enter import LAB_DIR
from gapless.lab.machines.nodes import Host
from gapless.lab.waiting import until

pytestmark = pytest.mark.lab

_ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9699/metrics', timeout=20).read().decode())"


async def figures_of(host: Host) -> dict[str, float]:
    page = await host.machine.run(sys.executable, "-c", _ASK)
    return {sample.name: sample.value for family in text_string_to_metric_families(page) for sample in family.samples}


async def test_a_hosts_figures_are_to_be_had_on_it_and_count_a_takeover() -> None:
    async with running_lab(mode=STANDBY, down_time_s=PATIENT_S) as lab:
        victim = await lab.busiest_host()
        before: dict[str, dict[str, float]] = {}

        async def all_beats_have_told() -> bool:
            """Of themselves, which they do once a second."""
            before.update({name: await figures_of(host) for name, host in lab.hosts.items()})
            return all(shown["gapless_beat_late_seconds_count"] > 0 for shown in before.values())

        await until(all_beats_have_told, "each beat has said how late it was", PATIENCE_S)
        for shown in before.values():
            assert (shown["gapless_lease_held"], shown["gapless_agent_running"]) == (1, 1)
        assert sum(shown["gapless_routers_open"] for shown in before.values()) == 3
        outcome = await strike(lab, "host-power", victim.name)
        after = [await figures_of(host) for name, host in lab.hosts.items() if name != victim.name]
        others = [shown for name, shown in before.items() if name != victim.name]
        taken, had = (sum(each["gapless_routers_taken_over_total"] for each in those) for those in (after, others))
        assert taken - had == outcome.result.affected > 0
        assert sum(shown["gapless_routers_open"] for shown in after) == 3


async def guarded_and_ready(lab: Lab) -> bool:
    return all(each["standby_state"] == "ready" and each["state"] == "active" for each in await lab.api.routers())


async def test_a_router_becomes_a_guarded_one_without_losing_a_packet() -> None:
    async with running_lab(routers=6, mode=CLASSIC, down_time_s=PATIENT_S) as lab:
        async with lab.traffic() as traffic:
            await traffic.all_answered(for_s=1.0, timeout_s=PATIENCE_S)
            await traffic.begin()
            for tenant in lab.tenants:
                await lab.api.update("router", tenant.router_id, failover_mode=str(STANDBY))
            await until(lambda: guarded_and_ready(lab), "all have standbys that are ready", PATIENCE_S)
            recording = await traffic.end(LAB_DIR / "recording")
        assert recording.sent > 0
        assert recording.lost == 0
