"""Which host, and why; or for each host, why not."""

import pytest
from planner_rig import facts, needs

from gapless.core.ledger.agents import AgentRecord
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.links import LinkRecord
from gapless.core.ledger.liveness import Silence
from gapless.core.ledger.tenures import Tenures
from gapless.core.planner.placement import Placing, StandbyPlacing, objection
from gapless.model.host import AgentState, HostName, Incarnation
from gapless.model.router import RouterId


def host(name: str, load: int = 0, **said: object) -> Host:
    made = Host(
        facts=facts(name, **said),
        tenures=Tenures(incarnation=Incarnation(1)),
        admin_up=True,
        silence=Silence(counted_from=0),
        link=LinkRecord(is_open=True),
        agent=AgentRecord(state=AgentState.RUNNING),
        bound={RouterId(f"{name}-{number}") for number in range(load)},
    )
    made.silence.end(0)
    return made


def out_of_service(made: Host) -> Host:
    made.admin_up = False
    return made


def without_link(made: Host) -> Host:
    made.link.is_open = False
    return made


def without_agent(made: Host) -> Host:
    made.agent.state = AgentState.RESTARTING
    return made


def unheard(made: Host) -> Host:
    made.silence = Silence(counted_from=0)
    return made


ASKED = needs(
    "r", availability_zone_hints=("east", "west"), physical_networks=frozenset({"external"}), needs_vxlan=True
)
ABLE = {"availability_zone": "east", "physical_networks": ("external", "other"), "data_address": "192.0.2.1"}


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (host("h", **ABLE), ""),
        (out_of_service(host("h", **ABLE)), "is taken out of service"),
        (unheard(host("h", **ABLE)), "was not heard since the controller's start"),
        (without_link(host("h", **ABLE)), "has no control link"),
        (without_agent(host("h", **ABLE)), "has no running agent"),
        (host("h", 2, **{**ABLE, "capacity": 2}), "is full (2 of 2)"),
        (host("h", **{**ABLE, "availability_zone": "nova"}), "is in zone nova, not in east or west"),
        (host("h", **{**ABLE, "physical_networks": ("other",)}), "is not plugged into external"),
        (host("h", **{**ABLE, "data_address": None}), "has no data address for VXLAN"),
    ],
)
def test_why_not(candidate: Host, said: str) -> None:
    assert objection(candidate, ASKED) == said


def test_the_fewest_routers_then_the_first_name() -> None:
    hosts = [host("h3", 2), host("h2", 1), host("h1", 1)]
    placement = Placing(hosts).place(needs("r"), leaving=None)
    assert placement.host is hosts[2]
    assert placement.reason == "h1 has 1 of 1000 routers: the fewest routers of 3 hosts that can take it"


def test_neither_the_host_that_it_leaves_nor_one_that_failed() -> None:
    hosts = [host("h1"), host("h2"), host("h3", 5)]
    placing = Placing(hosts)
    placement = placing.place(needs("r"), leaving=HostName("h1"), avoid={HostName("h2")})
    assert placement.reason == "h3 has 5 of 1000 routers: the only host that can take it"
    assert placing.place(needs("r"), leaving=HostName("h1")).host is hosts[1], "nothing was lost on the way"


def test_each_decision_counts_the_ones_before() -> None:
    hosts = [host("h1"), host("h2", 3), host("h3", capacity=2)]
    placing = Placing(hosts)
    for number in range(9):
        chosen = placing.place(needs(f"r{number}"), leaving=None).host
        assert chosen is not None
        chosen.coming.add(RouterId(f"r{number}"))
    assert [each.load for each in hosts] == [5, 5, 2]


def test_room_that_is_made_while_standbys_are_chosen_is_seen() -> None:
    """What hosts can do is looked at once for many answers of the store, and these may make room."""
    home, full = host("h1"), host("h2", 1, capacity=1)
    placing = StandbyPlacing([home, full], 0.0)
    chosen, waits = placing.place(needs("r"), home, instead_of=None, avoid=())
    assert (chosen.host, chosen.reason, waits) == (None, "h2 is full (1 of 1)", False)
    full.bound.clear()
    chosen, _ = placing.place(needs("r"), home, instead_of=None, avoid=())
    assert chosen.host is full


def test_why_nobody_is_grouped_by_reason() -> None:
    hosts = [out_of_service(host(f"h{number}")) for number in range(1, 8)]
    hosts.append(host("h8", 1, capacity=1))
    placement = Placing(hosts).place(needs("r"), leaving=HostName("h9"))
    assert placement.host is None
    assert placement.reason == "h8 is full (1 of 1); h1, h2, h3, h4, h5 and 2 more: each is taken out of service"


def test_no_host_at_all() -> None:
    assert Placing([]).place(needs("r"), leaving=None).reason == "no host has connected yet"
    only = Placing([host("h1")]).place(needs("r"), leaving=HostName("h1"))
    assert only.reason == "there is no other host"
