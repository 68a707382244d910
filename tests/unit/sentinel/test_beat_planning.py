"""A host's plan on its way to the beat: in parts that are small enough, and put together again."""

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from beat_fakes import X, Y, Z, router
from hypothesis import given, settings
from hypothesis import strategies as st

from gapless.config import HostSettings
from gapless.core.edge.beatevents import Planned
from gapless.core.hostplan import HostPlan
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion, Tenure
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.plan import Epoch, Guarded, LeaseAddress, PanelPlan, PlannedRouter, Revision, Role
from gapless.model.router import FloatingIp, Gateway, Router, RouterId, RouterPort
from gapless.sentinel import beatplan
from gapless.sentinel.beat.planning import Planning
from gapless.wire.beat import PlanPart
from gapless.wire.messages import encode
from gapless.wire.packets import PACKET_BYTES_MAX

SETTINGS = HostSettings(
    name="net1", state_dir=Path("/x"), key_file=Path("/x"), physical_networks=(("external", "eth2"),)
)
OTHER = Tenure(HostName("net2"), Incarnation(7))
PANEL = PanelPlan(
    timing=DEFAULT,
    panel=Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset({HostName("net1")}),)),
    addresses=(LeaseAddress(host=HostName("net1"), address="10.0.0.1:9698"),),
)


def part(*routers: object, removed: tuple[RouterId, ...] = (), last: bool = True, whole: bool = False) -> PlanPart:
    return PlanPart(
        revision=5,
        incarnation=Incarnation(1),
        heard=2,
        last=last,
        whole=whole,
        routers=routers,  # type: ignore[arg-type] # test
        removed=removed,
    )


def given_by(planned: Planned | None) -> tuple[dict[RouterId, int], dict[RouterId, tuple[Tenure, ...]]]:
    assert planned is not None
    return dict(planned.plan.active), {each: right.after for each, right in planned.plan.rights.items()}


def test_parts_count_from_the_last_one_on() -> None:
    planning = Planning()
    assert planning.take(part(router(X), last=False, whole=True)) is None
    planned = planning.take(part(router(Y, role=Role.STANDBY, epoch=4, after=(OTHER,))))
    assert given_by(planned) == ({X: 1}, {Y: (OTHER,)})
    assert planned is not None
    assert (planned.plan.revision, planned.plan.incarnation, planned.plan.heard) == (5, 1, 2)


def test_what_was_made_for_another_incarnation_is_built_and_no_more() -> None:
    stale = router(X, incarnation=2), router(Y, role=Role.STANDBY, incarnation=2, after=(OTHER,))
    assert given_by(Planning().take(part(*stale, router(Z, role=Role.STANDBY)))) == ({}, {})


def test_changes_and_removals_follow_on_what_was_there() -> None:
    planning = Planning()
    planning.take(part(router(X), router(Y), router(Z, role=Role.STANDBY, after=(OTHER,))))
    swapped = part(router(X, role=Role.STANDBY, epoch=2, after=(OTHER,)), router(Z, epoch=3), removed=(Y,))
    assert given_by(planning.take(swapped)) == ({Z: 3}, {X: (OTHER,)})
    assert given_by(planning.take(part(router(X, incarnation=9)))) == ({Z: 3}, {})
    assert given_by(planning.take(part(removed=(Z, RouterId("unknown"))))) == ({}, {})


def test_a_whole_plan_forgets_what_was_there_and_what_of_it_never_became_whole() -> None:
    planning = Planning()
    planning.take(part(router(X)))
    planning.take(part(router(Y), last=False))
    assert given_by(planning.take(part(router(Z), whole=True))) == ({Z: 1}, {})


def test_a_plan_that_was_given_stays_as_it_was() -> None:
    planning = Planning()
    planned = planning.take(part(router(X)))
    planning.take(part(removed=(X,)))
    assert given_by(planned) == ({X: 1}, {})


# --- from the host's plan


def planned(
    number: int, *, role: Role | None = Role.ACTIVE, ports: int = 1, floating: int = 0, admin_up: bool = True
) -> PlannedRouter:
    tenant = Network(id=NetworkId(f"n{number}"), type=NetworkType.VXLAN, mtu=1450, segmentation_id=number + 1)
    outside = Network(id=NetworkId("outside"), type=NetworkType.FLAT, mtu=1500, physical_network="external")

    def port(place: int, network: Network) -> RouterPort:
        return RouterPort(
            id=PortId(f"{number:04}{place:07}-port"),
            network=network,
            mac=f"02:00:00:{number >> 8:02x}:{number & 255:02x}:{place & 255:02x}",
            addresses=(IPv4Interface("10.0.0.1/24"),),
        )

    return PlannedRouter(
        router=Router(
            id=RouterId(f"{number:08}-0000-4000-8000-000000000000"),
            name="",
            admin_up=admin_up,
            gateway=Gateway(port=port(9_000_000, outside), next_hop=IPv4Address("10.0.0.254"), snat=True),
            ports=tuple(port(place, tenant) for place in range(ports)),
            floating_ips=tuple(
                FloatingIp(id="", address=IPv4Address(0x64400000 + each), fixed_address=IPv4Address("10.0.0.9"))
                for each in range(floating)
            ),
        ),
        epoch=Epoch(1),
        guarded=None if role is None else Guarded(role=role, incarnation=Incarnation(1)),
    )


def parts(sent: HostPlan | None, plan: HostPlan, panel: PanelPlan | None = None) -> list[PlanPart]:
    made = list(beatplan.parts(sent, plan, SETTINGS, version=3, incarnation=Incarnation(1), heard=0, panel=panel))
    assert [each.last for each in made] == [False] * (len(made) - 1) + [True]
    assert all(len(encode(each)) < PACKET_BYTES_MAX for each in made)
    assert [each.panel for each in made[:-1]] == [None] * (len(made) - 1)
    return made


def plan(*routers: PlannedRouter) -> HostPlan:
    return HostPlan.of(Revision(1), routers)


def test_a_thousand_routers_travel_in_small_parts() -> None:
    made = parts(None, plan(*(planned(number) for number in range(1000))), PANEL)
    assert [each.whole for each in made] == [True] + [False] * (len(made) - 1)
    assert sum(len(each.routers) for each in made) == 1000
    assert max(len(encode(each)) for each in made) < 16 * 1024
    assert made[-1].panel == PANEL


def test_nothing_is_one_part_too() -> None:
    for sent in (None, plan()):
        (only,) = parts(sent, plan())
        assert (only.routers, only.removed, only.whole) == ((), (), sent is None)


def test_only_what_changed_follows() -> None:
    before = [planned(number) for number in range(100)]
    gone, changed = parts(plan(*before), plan(*before[1:99], planned(99, ports=2), planned(100)))
    assert ([each[:8] for each in gone.removed], gone.routers) == (["00000000"], ())
    assert ([each.router_id[:8] for each in changed.routers], changed.removed) == (["00000099", "00000100"], ())


def test_thousands_of_removals_travel_in_parts() -> None:
    made = parts(plan(*(planned(number) for number in range(3000))), plan())
    assert sum(len(each.removed) for each in made) == 3000


def test_a_classic_router_is_nothing_to_the_beat_and_one_that_becomes_classic_is_removed() -> None:
    (first,) = parts(None, plan(planned(1, role=None), planned(2)))
    assert [each.router_id[:8] for each in first.routers] == ["00000002"]
    made = parts(plan(planned(2)), plan(planned(2, role=None)))
    assert [each[:8] for some in made for each in some.removed] == ["00000002"]


def test_a_router_that_is_down_has_no_ports() -> None:
    (only,) = parts(None, plan(planned(1, admin_up=False)))
    assert (only.routers[0].taps, only.routers[0].ports) == ((), ())


@pytest.mark.parametrize(("ports", "floating"), [(1, 60_000), (3000, 0), (600, 4000)])
def test_a_huge_router_fits_with_all_its_taps_and_its_first_addresses(ports: int, floating: int) -> None:
    (only,) = parts(None, plan(planned(1, ports=ports, floating=floating)))
    (huge,) = only.routers
    assert len(huge.taps) == ports + 1
    assert huge.ports[0].way_out == "eth2", "the gateway comes first"
    assert len(huge.ports[0].addresses) > min(floating, 1000)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 2500)), max_size=8))
def test_whatever_they_are_they_all_arrive(shapes: list[tuple[int, int]]) -> None:
    made = parts(
        None,
        plan(*(planned(number, ports=ports, floating=floating) for number, (ports, floating) in enumerate(shapes))),
        PANEL,
    )
    assert [each.router_id for some in made for each in some.routers] == [
        planned(number).router.id for number in range(len(shapes))
    ]
