"""Whether another machine uses an address of a router: what is heard, told as transcripts."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

from gapless.core.dataplane.conflicts import QUIET_S, SETTLE_S, Conflicts
from gapless.model.host import Incarnation
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.plan import Epoch, Guarded, PlannedRouter, Role
from gapless.model.router import FloatingIp, Gateway, Router, RouterId, RouterPort
from gapless.model.sender import Sender

OUTSIDE = Network(id=NetworkId("outside"), type=NetworkType.FLAT, mtu=1500, physical_network="external")
ELSEWHERE = replace(OUTSIDE, id=NetworkId("elsewhere"), physical_network="second")
STRANGER, ANOTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
FLOATING = "203.0.113.20"


def mac_of(number: int) -> str:
    return f"fa:16:3e:00:00:{number:02x}"


def planned(number: int = 1, *floating: str, network: Network = OUTSIDE, role: Role | None = None) -> PlannedRouter:
    """Router r1 has 203.0.113.101, and so on."""
    port = RouterPort(
        id=PortId(f"port-{number}"),
        network=network,
        mac=mac_of(number),
        addresses=(IPv4Interface(f"203.0.113.{100 + number}/24"),),
    )
    router = Router(
        id=RouterId(f"r{number}"),
        name="",
        gateway=Gateway(port=port, next_hop=IPv4Address("203.0.113.1"), snat=True),
        floating_ips=tuple(
            FloatingIp(id=each, address=IPv4Address(each), fixed_address=IPv4Address("10.0.0.5")) for each in floating
        ),
    )
    guarded = Guarded(role=role, incarnation=Incarnation(1)) if role is not None else None
    return PlannedRouter(router=router, epoch=Epoch(1), guarded=guarded)


def ailment(address: str = FLOATING, mac: str = STRANGER, more: str = "") -> str:
    return f"{address} is also used by {mac}: what is sent to it may arrive there, and not at this router{more}"


class Bench:
    """A host's conflicts, and a clock moved by hand."""

    def __init__(self, *routers: PlannedRouter) -> None:
        self.conflicts = Conflicts()
        self.now = 1000.0
        self.ailments: dict[RouterId, str] = {}
        self.plan(*routers)

    def plan(self, *routers: PlannedRouter) -> None:
        self.conflicts.take_plan(routers)

    def hear(self, address: str, mac: str, *, network: Network = OUTSIDE, frames: int = 1) -> list[str]:
        sender = Sender(network_id=network.id, address=IPv4Address(address), mac=mac, frames=frames)
        return self.look(sender)

    def look(self, *senders: Sender) -> list[str]:
        """What is said now."""
        self.ailments = self.conflicts.take(senders, self.now)
        return [
            f"{each.router_id} {each.address} {each.mac}" + f" over {each.frames} {each.by_others}" * each.is_over
            for each in self.conflicts.take_news()
        ]

    def after(self, seconds: float) -> list[str]:
        self.now += seconds
        return self.look()


def known(bench: Bench) -> int:
    return len(bench.conflicts._known)


def test_a_foreign_machine_is_said_once_with_its_mac_and_is_over_when_it_was_quiet() -> None:
    bench = Bench(planned(1, FLOATING))
    assert bench.hear(FLOATING, STRANGER) == []
    assert bench.after(SETTLE_S) == [f"r1 {FLOATING} {STRANGER}"]
    assert bench.ailments == {"r1": ailment()}
    bench.now += 60
    assert bench.hear(FLOATING, STRANGER, frames=3) == []
    assert bench.after(QUIET_S - 1) == []
    assert bench.ailments == {"r1": ailment()}
    assert bench.after(1) == [f"r1 {FLOATING} {STRANGER} over 4 0"]
    assert bench.ailments == {}
    assert known(bench) == 0
    assert bench.hear(FLOATING, STRANGER) == []
    assert bench.after(SETTLE_S) == [f"r1 {FLOATING} {STRANGER}"], "it is back"


def test_the_address_of_the_gateway_port_is_watched_as_floating_ips_are() -> None:
    bench = Bench(planned(1, FLOATING))
    assert bench.conflicts.watched == {OUTSIDE: frozenset(map(IPv4Address, ("203.0.113.101", FLOATING)))}
    bench.hear("203.0.113.101", STRANGER)
    assert bench.after(SETTLE_S) == [f"r1 203.0.113.101 {STRANGER}"]


def test_what_the_router_sends_on_whatever_host_is_no_conflict() -> None:
    bench = Bench(planned(1, FLOATING), planned(2, "203.0.113.21", role=Role.STANDBY))
    bench.hear(FLOATING, mac_of(1))
    bench.hear("203.0.113.101", mac_of(1))
    bench.hear("203.0.113.21", mac_of(2), frames=6)
    bench.plan(planned(1, FLOATING), planned(2, "203.0.113.21", role=Role.ACTIVE))
    bench.hear("203.0.113.21", mac_of(2), frames=6)
    assert bench.after(SETTLE_S) == []
    assert known(bench) == 0


def test_addresses_of_nobody_here_are_nobodys_business() -> None:
    bench = Bench(planned(1, FLOATING))
    for number in range(50):
        bench.hear(f"203.0.113.{number + 30}", STRANGER)
    bench.hear(FLOATING, STRANGER, network=ELSEWHERE)
    assert bench.after(SETTLE_S) == []
    assert known(bench) == 0


def test_networks_with_the_same_addresses_are_kept_apart() -> None:
    bench = Bench(planned(1, FLOATING), planned(2, FLOATING, network=ELSEWHERE))
    bench.hear(FLOATING, STRANGER, network=ELSEWHERE)
    assert bench.after(SETTLE_S) == [f"r2 {FLOATING} {STRANGER}"]
    assert bench.ailments == {"r2": ailment()}


def test_a_floating_ip_that_goes_to_another_router_is_no_conflict() -> None:
    """Announced by its new host before the plan that takes it away reaches this one; and the other way round."""
    bench = Bench(planned(1, FLOATING))
    assert bench.hear(FLOATING, mac_of(9)) == []
    bench.now += SETTLE_S / 2
    bench.plan(planned(1))
    assert bench.after(SETTLE_S) == []
    bench.plan(planned(1, FLOATING))
    assert bench.after(SETTLE_S) == []
    assert bench.ailments == {}


def test_a_new_gateway_port_begins_with_nothing_known() -> None:
    bench = Bench(planned(1, FLOATING))
    bench.hear(FLOATING, STRANGER)
    bench.after(SETTLE_S)
    first = planned(1, FLOATING)
    assert first.router.gateway is not None
    gateway = replace(first.router.gateway, port=replace(first.router.gateway.port, mac=mac_of(7)))
    bench.plan(replace(first, router=replace(first.router, gateway=gateway)))
    assert bench.look() == []
    assert bench.ailments == {}


def test_a_plan_that_changes_something_else_changes_nothing_here() -> None:
    bench = Bench(planned(1, FLOATING))
    bench.hear(FLOATING, STRANGER)
    bench.after(SETTLE_S)
    bench.plan(planned(1, FLOATING, "203.0.113.22"), planned(2))
    assert bench.look() == []
    assert bench.ailments == {"r1": ailment()}


def test_a_standby_knows_and_says_it_when_it_is_active() -> None:
    bench = Bench(planned(1, FLOATING, role=Role.STANDBY))
    bench.hear(FLOATING, STRANGER)
    assert bench.after(SETTLE_S) == []
    assert bench.ailments == {}
    bench.plan(planned(1, FLOATING, role=Role.ACTIVE))
    assert bench.look() == [f"r1 {FLOATING} {STRANGER}"]
    assert bench.ailments == {"r1": ailment()}
    bench.plan(planned(1, FLOATING, role=Role.STANDBY))
    assert bench.look() == []
    assert bench.ailments == {}
    assert bench.after(QUIET_S) == [], "who said it last says when it is over"
    assert known(bench) == 0


def test_a_router_that_is_down_or_has_no_gateway_has_no_address_there() -> None:
    down = planned(1, FLOATING)
    bench = Bench(replace(down, router=replace(down.router, admin_up=False)))
    assert bench.conflicts.watched == {}
    inner = planned(2)
    bench.plan(replace(inner, router=replace(inner.router, gateway=None)))
    assert bench.conflicts.watched == {}


def test_several_addresses_of_one_router_are_told_as_one_ailment() -> None:
    bench = Bench(planned(1, FLOATING, "203.0.113.21"))
    bench.hear("203.0.113.21", ANOTHER)
    bench.hear(FLOATING, STRANGER)
    assert bench.after(SETTLE_S) == [f"r1 203.0.113.21 {ANOTHER}", f"r1 {FLOATING} {STRANGER}"]
    assert bench.ailments == {"r1": ailment(more=" (1 more of its addresses are used elsewhere too)")}


def test_a_storm_by_many_macs_is_counted_and_one_of_them_named() -> None:
    bench = Bench(planned(1, FLOATING), planned(2))
    bench.hear(FLOATING, STRANGER)
    for number in range(5000):
        bench.hear(FLOATING, f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}")
    assert known(bench) == 1
    assert bench.after(SETTLE_S) == [f"r1 {FLOATING} {STRANGER}"]
    bench.hear(FLOATING, STRANGER)
    assert bench.after(QUIET_S) == [f"r1 {FLOATING} {STRANGER} over 5002 5000"]
    assert known(bench) == 0


def test_who_goes_on_is_named_in_place_of_who_fell_silent() -> None:
    bench = Bench(planned(1, FLOATING))
    bench.hear(FLOATING, STRANGER)
    bench.after(SETTLE_S)
    bench.now += QUIET_S - SETTLE_S - 1
    assert bench.hear(FLOATING, ANOTHER) == []
    assert bench.ailments == {"r1": ailment()}
    assert bench.after(1) == [f"r1 {FLOATING} {STRANGER} over 2 1", f"r1 {FLOATING} {ANOTHER}"]
    assert bench.ailments == {"r1": ailment(mac=ANOTHER)}
    assert bench.after(QUIET_S) == [f"r1 {FLOATING} {ANOTHER} over 0 0"]
