"""Placement by heap comes to what a look at every host each time would come to."""

from hypothesis import given
from hypothesis import strategies as st

from gapless.core.events import RouterNeeds
from gapless.core.ledger.agents import AgentRecord
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.links import LinkRecord
from gapless.core.ledger.liveness import Silence
from gapless.core.ledger.tenures import Tenures
from gapless.core.planner.placement import Placing, objection
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation, InstanceId
from gapless.model.router import FailoverMode, RouterId

NAMES = [HostName(f"h{number}") for number in range(6)]
ZONES = ["nova", "east"]


@st.composite
def host(draw: st.DrawFn, name: HostName) -> Host:
    made = Host(
        facts=HostFacts(
            name=name,
            instance=InstanceId(name),
            availability_zone=draw(st.sampled_from(ZONES)),
            capacity=draw(st.integers(0, 6)),
            data_address=draw(st.sampled_from([None, "192.0.2.1"])),
        ),
        tenures=Tenures(incarnation=Incarnation(1)),
        admin_up=draw(st.sampled_from([True, True, False])),
        silence=Silence(counted_from=0),
        link=LinkRecord(is_open=True),
        agent=AgentRecord(state=AgentState.RUNNING),
        bound={RouterId(f"{name}-{number}") for number in range(draw(st.integers(0, 4)))},
    )
    made.silence.end(0)
    return made


fleets = st.lists(st.sampled_from(NAMES), unique=True).flatmap(lambda names: st.tuples(*map(host, names)))
routers = st.lists(
    st.tuples(
        st.sampled_from([(), ("east",), ("east", "nova")]),
        st.booleans(),
        st.sampled_from([None, *NAMES]),
        st.frozensets(st.sampled_from(NAMES), max_size=2),
    ),
    max_size=30,
)


@given(fleet=fleets, asked=routers)
def test_the_heap_chooses_as_a_full_look_would(
    fleet: tuple[Host, ...], asked: list[tuple[tuple[str, ...], bool, HostName | None, frozenset[HostName]]]
) -> None:
    placing = Placing(fleet)
    for number, (zones, needs_vxlan, leaving, avoid) in enumerate(asked):
        needs = RouterNeeds(
            router_id=RouterId(f"r{number}"),
            mode=FailoverMode.RESCHEDULE,
            availability_zone_hints=zones,
            needs_vxlan=needs_vxlan,
        )
        able = [each for each in fleet if each.name != leaving and not objection(each, needs, avoid)]
        placement = placing.place(needs, leaving=leaving, avoid=avoid)
        assert placement.host is min(able, key=lambda each: (each.load, each.name), default=None)
        assert placement.reason
        if placement.host is not None:
            placement.host.coming.add(needs.router_id)
            assert placement.host.load <= placement.host.facts.capacity


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 120))
def test_a_mass_move_is_spread_evenly(capacities: list[int], moved: int) -> None:
    fleet = []
    for number, capacity in enumerate(capacities):
        facts = HostFacts(name=HostName(f"h{number}"), instance=InstanceId(f"i{number}"), capacity=capacity)
        silence = Silence(counted_from=0)
        silence.end(0)
        made = Host(facts=facts, tenures=Tenures(incarnation=Incarnation(1)), admin_up=True, silence=silence)
        made.link.is_open, made.agent.state = True, AgentState.RUNNING
        fleet.append(made)
    placing = Placing(fleet)
    for number in range(moved):
        needs = RouterNeeds(router_id=RouterId(f"r{number}"), mode=FailoverMode.RESCHEDULE)
        chosen = placing.place(needs, leaving=None).host
        if chosen is not None:
            chosen.coming.add(needs.router_id)
    assert sum(each.load for each in fleet) == min(moved, sum(capacities))
    with_room = [each.load for each in fleet if not each.is_full]
    assert max(with_room, default=0) - min(with_room, default=0) <= 1
    assert all(each.load <= min(with_room, default=each.load) + 1 for each in fleet if each.is_full)
