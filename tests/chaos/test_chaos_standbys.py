"""Each fault where standbys take over, with real processes and real packets, judged by what the fault says of itself:
traffic is back, each router is active on exactly one host, no frame was double active, what should move moved.

Those of every day share labs: an experiment begins when everything is well again. The others have a lab each."""

import json
import re
from collections.abc import Mapping
from datetime import datetime

import pytest
from chaos_lab import (
    CLASSIC,
    DOWN_TIME_S,
    PATIENCE_S,
    PATIENT_S,
    STANDBY,
    Chosen,
    Turn,
    a_fault,
    one_after_another,
    running_lab,
    said,
    said_since,
    some_thorough,
    strike,
    the_busiest,
    without_power,
    without_routers,
)
from chaos_takeovers import BOUNDS, FENCED, HOLD_S, HOLDS, taken_over, without_double_active_frames

from gapless.core.dataplane.gateways import MISSES_MORE, ROUND_S
from gapless.core.ledger.ways import SETTLED_S
from gapless.lab.experiment import Outcome, experiment
from gapless.lab.faults import FAULTS, Fault, choose
from gapless.lab.faults.conflicts import MAC
from gapless.lab.faults.links import FLAP_S
from gapless.lab.findings.expect import Bounds, Gap
from gapless.lab.lab import Lab
from gapless.lab.machines import layout
from gapless.lab.measuring.connections import Kind
from gapless.lab.waiting import until
from gapless.model.lease import DEFAULT

pytestmark = pytest.mark.lab

CONNECTIONS = 48
"""Through six routers: of each kind through each."""
STOPPED_S = 5.0
"""Of a sentinel that hangs."""
RESIGNED = "it resigns: no answer from gateway"
MISSED = "this host has lost its way out: no answer from gateway"
STANDS_S = 2 * SETTLED_S
"""Of a way out that all have lost: each host has said so for so long that its routers would leave, were it alone."""
MISSING = Bounds(gap_ms={Gap.TAKEOVER: STANDS_S * 1000})
"""To miss a gateway takes two to three seconds, and longer on a busy machine; it is over before anything is healed."""
SOON_S = 1.5
"""While the kernel still keeps what was sent when nobody could hear it: it would leave now (`sentinel.unsent`)."""


def moved_by_themselves(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """As far as they moved, the controller was not asked: there was no death that it could have seen."""
    without_double_active_frames(lab, fault, outcome)
    assert {move["kind"] for move in outcome.moves} <= {"takeover", "restart"}


def taken_from_the_host_that_flaps(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """Each time it is cut off for longer than its lease."""
    assert DEFAULT.arbiter_s < FLAP_S
    moved_by_themselves(lab, fault, outcome)
    assert outcome.result.moved > 0
    assert any((move["from_host"], move["kind"]) == (fault.names[0], "takeover") for move in outcome.moves)


def resigned_alone(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """The host that did not hear its gateway let all go, and nobody else did."""
    moved_by_themselves(lab, fault, outcome)
    assert outcome.result.moved == outcome.result.affected > 0
    struck = datetime.fromisoformat(outcome.result.at)
    said_it = {
        name
        for name, host in lab.hosts.items()
        if any(RESIGNED in line for _, line in said_since(host.sentinel, struck))
    }
    assert said_it == set(fault.names)


def all_missed_it_and_nobody_resigned(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    without_double_active_frames(lab, fault, outcome)
    assert (outcome.result.moved, outcome.moves) == (0, ())
    struck = datetime.fromisoformat(outcome.result.at)
    for name, host in lab.hosts.items():
        lines = [line for _, line in said_since(host.sentinel, struck)]
        assert any(MISSED in line for line in lines), f"{name} missed its gateway: {lines}"
        assert not [line for line in lines if RESIGNED in line], f"{name} stayed: {lines}"


def stopped_and_said_so(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """Without a quorum of arbiters hosts stop, as designed; then they go on."""
    without_double_active_frames(lab, fault, outcome)
    assert outcome.result.probes.lost > 0
    struck = datetime.fromisoformat(outcome.result.at)
    for name, host in lab.hosts.items():
        lines = [line for _, line in said_since(host.sentinel, struck)]
        holds = [number for number, line in enumerate(lines) if HOLDS in line]
        assert holds, f"{name} holds its lease again: {lines}"
        if name not in fault.names:
            fenced = [number for number, line in enumerate(lines) if FENCED in line]
            assert fenced, f"{name} was fenced: {lines}"
            assert fenced[0] < holds[-1]


def moved_on_purpose(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """Each router was released by its host, which lives, and opened after that; nobody took anything over."""
    without_double_active_frames(lab, fault, outcome)
    assert len(outcome.moves) == outcome.result.moved == outcome.result.affected > 0
    for move in outcome.moves:
        assert (move["from_host"] in fault.names, move["kind"], move["outcome"]) == (True, "drain", "confirmed")
        # That it was closed first the frames say: these are times of different turns of the controller.
        steps = {step["step"]: datetime.fromisoformat(step["at"]) for step in move["timeline"]}
        assert steps.keys() >= {"bound", "withdrawn", "opened", "confirmed"}
        assert steps["decided"] < steps["confirmed"]


def said_and_not_fought_over(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """Another machine had the floating IPs: traffic went there, nothing moved, and the host says once of each whose."""
    without_double_active_frames(lab, fault, outcome)
    assert outcome.result.probes.lost > 0
    assert (outcome.result.moved, outcome.moves) == (0, ())
    struck = datetime.fromisoformat(outcome.result.at)
    (host,) = [lab.hosts[name] for name in fault.names]
    lines = [line for _, line in said_since(host.sentinel, struck) if "another machine uses an address" in line]
    assert len(lines) == outcome.result.affected
    assert all(f"mac={MAC}" in line for line in lines)


def nothing_was_noticed(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    without_double_active_frames(lab, fault, outcome)
    assert outcome.result.probes.lost == 0
    assert (outcome.result.moved, outcome.moves) == (0, ())


def taken(name: str, *, on: Chosen | None = None, hold_s: float = HOLD_S) -> Turn:
    return a_fault(name, on=on, bounds=BOUNDS, hold_s=hold_s, shows=taken_over)


CABLES: Mapping[str, Turn] = {
    "data-link": taken("data-link"),
    "data-link, soon whole": a_fault("data-link", bounds=BOUNDS, hold_s=SOON_S, shows=moved_by_themselves),
    "data-link-out": taken("data-link-out"),
    "data-link-in": a_fault("data-link-in", bounds=BOUNDS, hold_s=HOLD_S, shows=moved_by_themselves),
    "partition": taken("partition", on=the_busiest),
    "uplink-lost": a_fault("uplink-lost", bounds=BOUNDS, hold_s=HOLD_S, shows=moved_by_themselves),
    "gateway-lost": a_fault("gateway-lost", bounds=MISSING, hold_s=STANDS_S, shows=resigned_alone),
}
MACHINES: Mapping[str, Turn] = {
    "sentinel-kill": taken("sentinel-kill"),
    "sentinel-stop": taken("sentinel-stop", hold_s=STOPPED_S),
    "host-flap": a_fault("host-flap", bounds=BOUNDS, shows=taken_from_the_host_that_flaps),
    "host-power": taken("host-power"),
    "host-return": a_fault("host-return", on=without_power, shows=nothing_was_noticed),
    # Nothing is active there any more, so it is nothing but an arbiter.
    "arbiter-kill": a_fault("arbiter-kill", on=without_routers, hold_s=HOLD_S, shows=nothing_was_noticed),
    "drain": a_fault("drain", bounds=BOUNDS, shows=moved_on_purpose),
    "host-stop": a_fault("host-stop", bounds=BOUNDS, shows=moved_on_purpose),
    "reboot-all": a_fault("reboot-all", bounds=BOUNDS, shows=stopped_and_said_so),
    "database-then-power": taken("database-then-power"),
}
NOT_MOVED: Mapping[str, Turn] = {
    "agent-kill": a_fault("agent-kill", shows=nothing_was_noticed),
    "host-reload": a_fault("host-reload", shows=nothing_was_noticed),
    "agent-stop": a_fault("agent-stop", shows=nothing_was_noticed),
    "state-gone": a_fault("state-gone", shows=nothing_was_noticed),
    "controller-kill": a_fault("controller-kill", shows=nothing_was_noticed),
    "controller-stop": a_fault("controller-stop", shows=nothing_was_noticed),
    "mgmt-link": a_fault("mgmt-link", shows=nothing_was_noticed),
    "address-conflict": a_fault("address-conflict", shows=said_and_not_fought_over),
    "uplinks-lost": a_fault("uplinks-lost", bounds=BOUNDS, hold_s=STANDS_S, shows=without_double_active_frames),
    "gateway-silent": a_fault(
        "gateway-silent", bounds=BOUNDS, hold_s=STANDS_S, shows=all_missed_it_and_nobody_resigned
    ),
    "two-arbiters-kill": a_fault("two-arbiters-kill", bounds=BOUNDS, shows=stopped_and_said_so),
    "restart-all": a_fault("restart-all", bounds=BOUNDS, shows=stopped_and_said_so),
}
TWO_AT_ONCE = ("two-hosts-power", "controller-then-two-hosts")
APART = {*TWO_AT_ONCE, "controller-then-power", "successor-dies", "agent-unable", "standby-cut-then-power"}
OTHERS = [name for name in FAULTS if name not in {*CABLES, *MACHINES, *NOT_MOVED, *APART}]


@pytest.mark.parametrize(
    ("down_time_s", "turns"),
    [
        pytest.param(PATIENT_S, CABLES, id="cables"),
        pytest.param(PATIENT_S, MACHINES, id="machines"),
        pytest.param(DOWN_TIME_S, NOT_MOVED, id="not-moved"),
    ],
)
async def test_what_faults_cost_one_after_another(down_time_s: float, turns: Mapping[str, Turn]) -> None:
    async with running_lab(hosts=3, routers=6, mode=STANDBY, down_time_s=down_time_s, flows=CONNECTIONS) as lab:
        await one_after_another(lab, turns)


async def test_standbys_need_no_controller() -> None:
    async with running_lab(hosts=3, routers=6, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        await strike(lab, "controller-then-power", bounds=BOUNDS, hold_s=HOLD_S, shows=taken_over)


def safe(name: str, *, hold_s: float = 0.0) -> Turn:
    """A turn in which routers are taken over from the host struck; wherever they and others go after that, and before,
    is forgiven, and nothing else.
    """

    async def turn(lab: Lab) -> None:
        fault = await choose(lab, name)
        outcome = await experiment(lab, fault, BOUNDS, hold_s)
        assert [problem for problem in outcome.result.problems if not STRAYED.fullmatch(problem)] == []
        without_double_active_frames(lab, fault, outcome)
        assert outcome.result.timing == "fast"
        assert any((move["from_host"], move["kind"]) == (fault.names[0], "takeover") for move in outcome.moves)

    return turn


STRAYED = re.compile(r"\d+ routers? (moved that were not struck|of \d+ struck did not move)")
FAST: Mapping[str, Turn] = {"sentinel-stop": safe("sentinel-stop", hold_s=STOPPED_S)}
FAST_MORE: Mapping[str, Turn] = {
    "data-link": safe("data-link", hold_s=HOLD_S),
    "data-link-out": safe("data-link-out", hold_s=HOLD_S),
    "host-power": safe("host-power"),
}


@pytest.mark.parametrize(
    "turns", [pytest.param(FAST, id="daily"), pytest.param(FAST_MORE, id="more", marks=pytest.mark.thorough)]
)
async def test_the_fast_timing_is_as_safe(turns: Mapping[str, Turn]) -> None:
    """A lease of 50 ms is short for processes without real-time priority: what is not struck may be taken over, too."""
    async with running_lab(hosts=3, routers=6, mode=STANDBY, down_time_s=PATIENT_S, timing="fast") as lab:
        await one_after_another(lab, turns)


@pytest.mark.thorough
@pytest.mark.parametrize("name", OTHERS)
async def test_what_a_fault_costs_with_standbys(name: str) -> None:
    async with running_lab(hosts=3, routers=6, mode=STANDBY) as lab:
        await strike(lab, name, bounds=BOUNDS, shows=without_double_active_frames)


@pytest.mark.parametrize("victim", some_thorough(["host-1", "host-2"], ["host-2"]))
async def test_two_hosts_take_over_from_each_other_with_an_arbiter_on_the_controllers_machine(victim: str) -> None:
    async with running_lab(hosts=2, routers=4, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        hosts = {host["name"]: host for host in await lab.api.hosts()}
        assert {name for name, host in hosts.items() if host["arbiter"]} == {"host-1", "host-2", layout.CONTROLLER}
        found = (await strike(lab, "host-power", victim, bounds=BOUNDS, shows=taken_over)).result
        assert found.moved == found.affected == 2
        assert lab.controller.machine.router_namespaces() == {}


@pytest.mark.parametrize("hosts", [pytest.param(2, marks=pytest.mark.thorough), 3])
async def test_packed_routers_stay_where_they_are_when_others_join_and_all_move_when_their_host_dies(
    hosts: int,
) -> None:
    async with running_lab(hosts=hosts, routers=3, mode=STANDBY, packed=True) as lab:
        assert set(map(tuple, (await lab.placement()).values())) == {("host-1",)}
        assert {router["standby_state"] for router in await lab.api.routers()} == {"ready"}
        assert [move for move in await lab.api.failovers(limit=100) if move["from_host"]] == []
        outcome = await strike(lab, "host-power", bounds=BOUNDS)
        assert "host-1" in outcome.result.description
        assert outcome.result.moved == outcome.result.affected == outcome.result.routers == 3
        assert {move["from_host"] for move in outcome.moves} == {"host-1"}


async def test_two_hosts_alone_are_told_what_they_lack() -> None:
    async with running_lab(hosts=2, routers=0, mode=CLASSIC) as lab:

        async def told() -> bool:
            return said(lab.controller.server, "run `gapless host --capacity 0` on the controller's machine")

        await until(told, "the controller misses an arbiter", PATIENCE_S, lab.controller.server.last_words)


async def test_routers_that_cannot_be_repaired_go_to_their_standbys_and_nobody_takes_over() -> None:
    async with running_lab(hosts=3, routers=6, mode=STANDBY, down_time_s=PATIENT_S) as lab:
        await strike(lab, "namespace-unrepairable", "host-1", bounds=BOUNDS, shows=gone_to_their_standbys)


def gone_to_their_standbys(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    without_double_active_frames(lab, fault, outcome)
    assert outcome.result.affected == outcome.result.moved > 0
    assert {(move["from_host"], move["kind"], move["outcome"]) for move in outcome.moves} == {
        ("host-1", "retry", "confirmed")
    }


async def test_guarded_routers_leave_a_host_whose_agent_does_not_work_and_the_host_says_so() -> None:
    settings = {"mode": STANDBY, "down_time_s": PATIENT_S, "agent_patience_s": 3.0, "flows": CONNECTIONS}
    async with running_lab(hosts=3, routers=6, **settings) as lab:
        await strike(lab, "agent-unable", "host-1", bounds=BOUNDS, shows=gone_for_want_of_an_agent)

        async def is_in_service() -> bool:
            (mine,) = [host for host in await lab.api.hosts() if host["name"] == "host-1"]
            return bool(mine["takes_routers"]) and mine["without_agent_s"] is None

        await until(is_in_service, "host-1 is in service again", PATIENCE_S, lab.controller.server.last_words)
        assert not [router for router in await lab.api.routers() if router["host"] == "host-1"], "nothing moves back"


def gone_for_want_of_an_agent(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    without_double_active_frames(lab, fault, outcome)
    assert outcome.result.affected == outcome.result.moved > 0
    assert {(move["from_host"], move["kind"], move["outcome"]) for move in outcome.moves} == {
        ("host-1", "drain", "confirmed")
    }
    found = outcome.result
    assert found.connections is not None
    kinds = found.connections.struck.items()
    assert {kind: each.lost for kind, each in kinds if each.connections} == dict.fromkeys(Kind, 0)
    # They are closed and open again. What a takeover costs is a lease without an answer, in both directions.
    of_a_lease = 2 * DEFAULT.lease_s * 1000 / found.probes.interval_ms
    assert max(found.probes.lost_of_routers.values(), default=0) < of_a_lease
    marks = [line for _, line in said_since(lab.controller.server, datetime.fromisoformat(outcome.result.at))]
    said_of_it = [line for line in marks if "its agent has not worked for long" in line]
    assert all("Host host-1 is alive" in line for line in said_of_it)
    assert "libnftables.so.1 cannot be loaded" in said_of_it[-1], "at first it was only killed"


@pytest.mark.thorough
async def test_a_router_that_does_not_hear_its_gateway_is_degraded_and_goes_where_it_does() -> None:
    """Every setting of it is right: a foreigner drops its ARP on the host."""
    async with running_lab(hosts=2, routers=3, mode=STANDBY, down_time_s=PATIENT_S, packed=True) as lab:
        router_id = lab.tenants[0].router_id
        machine = lab.host("host-1").machine
        inside = ("ip", "netns", "exec", f"qrouter-{router_id}")
        links = json.loads(await machine.run(*inside, "ip", "-j", "link"))
        (link,) = [str(each["ifname"]) for each in links if str(each["ifname"]).startswith("qg-")]
        doubts = [f"net/ipv4/neigh/{link}/base_reachable_time_ms=1000", f"net/ipv4/neigh/{link}/gc_stale_time=1"]
        await machine.run(*inside, "sysctl", "-qw", *doubts)

        async def health() -> tuple[str, str]:
            (found,) = [each for each in await lab.api.routers() if each["router_id"] == router_id]
            return found["health"], found["ailment"]

        async def is_degraded() -> bool:
            return (await health())[0] == "degraded"

        async def is_healthy() -> bool:
            return (await health())[0] == "healthy"

        await until(is_healthy, "the router is healthy", PATIENCE_S, lab.controller.server.last_words)
        chain = f'type filter hook prerouting priority -400; iifname "tap{link[3:]}" ether type arp drop;'
        await machine.run("nft", "-f", "-", given=f"table bridge foreign {{\n chain cut {{\n {chain}\n }}\n}}\n")
        await until(is_degraded, "the router is degraded", 3 * PATIENCE_S, lab.host("host-1").sentinel.last_words)
        assert re.fullmatch(
            r"its gateway \S+ does not answer it, while it answers others here \([12]\)", (await health())[1]
        )
        assert [move for move in await lab.api.failovers(limit=100) if move["from_host"]] == [], "not for that alone"

        async def is_elsewhere() -> bool:
            (found,) = [each for each in await lab.api.routers() if each["router_id"] == router_id]
            return found["host"] == "host-2"

        given_up_s = 3 * MISSES_MORE * ROUND_S
        await until(is_elsewhere, "the router is on host-2", given_up_s, lab.host("host-1").sentinel.last_words)
        await until(is_healthy, "the router is healthy again", PATIENCE_S, lab.host("host-2").sentinel.last_words)
        (move,) = [move for move in await lab.api.failovers(limit=100) if move["from_host"]]
        assert (move["router_id"], move["from_host"], move["kind"]) == (router_id, "host-1", "retry")
        await machine.run("nft", "delete", "table", "bridge", "foreign")
