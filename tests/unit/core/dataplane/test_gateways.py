"""Who hears its gateway: the pace of looks, and what is concluded from them."""

from ipaddress import IPv4Address

from gapless.core.dataplane.gateways import (
    BATCH_S,
    FEW,
    HEARS,
    KEPT_S,
    MISSES,
    MISSES_MORE,
    RATE,
    ROUND_S,
    Deafness,
    Gateways,
)
from gapless.model.neighbour import Neighbour, Reach, WayOut
from gapless.model.network import NetworkId
from gapless.model.plan import Epoch
from gapless.model.router import RouterId

TOLD = 1 + MISSES
"""Rounds until one that is found silent is told: at first it is asked."""
TOLD_LONG = TOLD + MISSES_MORE
GATEWAY = IPv4Address("203.0.113.1")
MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
HEARD = Neighbour(reach=Reach.HEARD, mac=MAC, confirmed_ago_s=0.0)
SILENT = Neighbour(reach=Reach.SILENT)
ASKED = Neighbour(reach=Reach.ASKED, mac=MAC, confirmed_ago_s=40.0)
NOTHING = Neighbour(reach=Reach.UNKNOWN)
PINNED = Neighbour(reach=Reach.PINNED, mac=OTHER_MAC)
ALONE = "its gateway 203.0.113.1 does not answer it, while it answers others here (2)"


def way(router_id: str, *, epoch: int = 1, network: str = "outside", guarded: bool = True) -> WayOut:
    return WayOut(
        router_id=RouterId(router_id),
        epoch=Epoch(epoch),
        link=f"qg-{router_id}",
        gateway=GATEWAY,
        network_id=NetworkId(network),
        guarded=guarded,
    )


class Bench:
    """Routers, a hand-driven clock, and what each look finds."""

    def __init__(self, *ways: WayOut) -> None:
        self.gateways = Gateways()
        self.now = 1000.0
        self.ways = list(ways)
        self.finds = {each.router_id: HEARD for each in ways}
        self.found: dict[str, Deafness] = {}
        self.looks: list[tuple[float, int]] = []

    def find(self, **seen: Neighbour) -> None:
        self.finds |= {RouterId(router_id): neighbour for router_id, neighbour in seen.items()}

    def batch(self) -> None:
        batch = self.gateways.next_batch(self.now, lambda: self.ways)
        self.looks.append((self.now, len(batch)))
        for way, deafness in self.gateways.take(
            {it.router_id: self.finds[it.router_id] for it in batch}, self.now
        ).items():
            if deafness != self.found.get(way.router_id, HEARS):
                self.found[way.router_id] = deafness
        self.now += BATCH_S

    @property
    def ailments(self) -> dict[str, str]:
        return {router_id: found.why for router_id, found in self.found.items()}

    def rounds(self, count: int = 1) -> None:
        for _ in range(int(count * ROUND_S / BATCH_S)):
            self.batch()


def three() -> Bench:
    bench = Bench(way("a"), way("b"), way("c"))
    bench.rounds()
    assert bench.ailments == {}
    return bench


def test_a_few_are_looked_at_once_a_round() -> None:
    bench = Bench(way("a"), way("b"), way("c"))
    bench.rounds(3)
    assert [count for _, count in bench.looks if count] == [3, 3, 3]


def test_a_thousand_are_looked_at_at_the_same_pace_as_a_hundred() -> None:
    bench = Bench(*(way(f"r{number}") for number in range(1000)))
    began = bench.now
    while sum(count for _, count in bench.looks) < 1000:
        bench.batch()
    assert bench.now - began == 1000 / RATE
    assert {count for _, count in bench.looks} == {RATE * BATCH_S}


def test_one_that_hears_nothing_while_others_do_ails_and_is_well_when_it_hears() -> None:
    bench = three()
    bench.find(a=SILENT)
    bench.rounds()
    assert bench.ailments == {}, "it is only asked"
    bench.rounds()
    assert bench.ailments == {}, "once is not enough"
    bench.rounds()
    assert bench.ailments == {"a": ALONE}
    bench.rounds(3)
    bench.find(a=HEARD)
    bench.rounds()
    assert bench.ailments == {"a": ""}
    assert bench.gateways.take_lines() == []


def test_one_that_is_silent_for_long_is_given_up_until_it_hears() -> None:
    bench = three()
    bench.find(a=SILENT)
    bench.rounds(TOLD_LONG - 1)
    assert bench.found == {"a": Deafness(ALONE)}
    bench.rounds()
    assert bench.found == {"a": Deafness(ALONE, is_given_up=True)}
    bench.find(a=ASKED)
    bench.rounds(2)
    bench.find(a=SILENT)
    bench.rounds(2)
    assert bench.found == {"a": Deafness(ALONE, is_given_up=True)}, "said once, and not taken back before it hears"
    bench.find(a=HEARD)
    bench.rounds()
    assert bench.found == {"a": HEARS}


def test_what_strikes_all_for_long_gives_up_none() -> None:
    bench = three()
    bench.find(a=SILENT, b=SILENT, c=SILENT)
    bench.rounds(2 * TOLD_LONG)
    assert bench.found == {}


def test_one_that_was_deaf_before_the_others_is_not_given_up_for_what_strikes_all_by_now() -> None:
    bench = three()
    bench.find(a=SILENT)
    bench.rounds(TOLD)
    bench.find(b=SILENT, c=SILENT)
    bench.rounds(2 * TOLD_LONG)
    assert bench.found == {"a": Deafness(ALONE)}
    bench.find(b=HEARD)
    bench.rounds(TOLD_LONG)
    assert bench.found == {"a": Deafness(ALONE), "c": Deafness(ALONE.replace("(2)", "(1)"))}, (
        "for what all were silent it has as many looks left as one that is found deaf now"
    )
    bench.rounds()
    assert {router_id for router_id, found in bench.found.items() if found.is_given_up} == {"a", "c"}


def test_one_that_is_given_up_stays_so_when_what_struck_all_is_over() -> None:
    bench = three()
    bench.find(a=SILENT)
    bench.rounds(TOLD_LONG)
    given_up = {"a": Deafness(ALONE, is_given_up=True)}
    assert bench.found == given_up
    bench.find(b=SILENT, c=SILENT)
    bench.rounds(TOLD_LONG)
    bench.find(b=HEARD, c=HEARD)
    for _ in range(TOLD_LONG):
        bench.rounds()
        assert bench.found == given_up
    bench.find(a=HEARD)
    bench.rounds()
    assert bench.found == {"a": HEARS}


def test_what_strikes_many_gives_up_none() -> None:
    """They would find out after minutes on their next hosts that it strikes them there as well."""
    names = [f"r{number}" for number in range(FEW + 2)]
    bench = Bench(*map(way, names))
    bench.rounds()
    bench.find(**dict.fromkeys(names[1:], SILENT))
    bench.rounds(2 * TOLD_LONG)
    assert {found.is_given_up for found in bench.found.values()} == {False}
    assert len(bench.found) == FEW + 1
    bench.find(**{names[1]: HEARD})
    bench.rounds()
    assert [bench.found[each].is_given_up for each in names[1:]] == [False, *[True] * FEW]


def test_a_classic_router_is_not_given_up() -> None:
    bench = Bench(*(way(name, guarded=False) for name in ("a", "b", "c")))
    bench.rounds()
    bench.find(a=SILENT)
    bench.rounds(2 * TOLD_LONG)
    assert bench.found == {"a": Deafness(ALONE)}


def test_what_is_concluded_is_said_each_time_and_what_is_open_is_not() -> None:
    gateways, a, b = Gateways(), way("a"), way("b")
    gateways.next_batch(0.0, lambda: [a, b])
    looked = {a.router_id: SILENT, b.router_id: HEARD}
    said = [gateways.take(looked, now) for now in (0.0, 10.0, 20.0, 30.0)]
    assert [list(each) for each in said] == [[b], [b], [a, b], [a, b]]
    assert said[2][a].why
    assert said[2][b] == HEARS


def test_while_it_is_asked_it_stays_what_it_was() -> None:
    bench = three()
    bench.find(a=SILENT)
    bench.rounds(TOLD)
    bench.find(a=ASKED)
    bench.rounds(2)
    assert bench.ailments == {"a": ALONE}
    well = three()
    well.find(a=ASKED)
    well.rounds(3)
    assert well.ailments == {}


def test_an_entry_that_was_asked_for_and_is_gone_was_not_answered() -> None:
    """A crowded kernel throws entries away of neighbours that do not answer."""
    bench = three()
    bench.find(a=NOTHING)
    bench.rounds()
    assert bench.gateways._known[RouterId("a")].misses == 0, "nobody had asked"
    bench.rounds(MISSES)
    assert bench.ailments == {"a": ALONE}
    slow = three()
    slow.find(b=NOTHING)
    for _ in range(4):
        slow.rounds()
        slow.now += KEPT_S
    assert slow.ailments == {}, "so long after that, it may have been answered and forgotten"


def test_what_strikes_all_is_held_against_none_and_said_once() -> None:
    bench = three()
    bench.find(a=SILENT, b=SILENT, c=SILENT)
    bench.rounds(5)
    assert bench.ailments == {}
    assert bench.gateways.take_lines() == [
        "gateway 203.0.113.1 answers none of 3 guarded routers here: is it down, or this host's way to it, "
        "or its lease gone?"
    ]
    bench.find(a=HEARD, b=HEARD, c=HEARD)
    bench.rounds()
    assert bench.gateways.take_lines() == ["gateway 203.0.113.1 answers routers here again"]
    assert bench.ailments == {}


def test_an_answer_from_before_is_no_proof_that_others_are_answered_now() -> None:
    """Kernels find out at different times: what one still believes was confirmed before the gateway fell silent."""
    bench = three()
    bench.find(a=SILENT, b=ASKED, c=ASKED)
    bench.rounds(3)
    assert bench.ailments == {}
    late = Neighbour(reach=Reach.HEARD, mac=MAC, confirmed_ago_s=45.0)
    bench.find(b=late)
    bench.rounds()
    assert bench.ailments == {}
    bench.find(b=HEARD)
    bench.rounds()
    assert bench.ailments == {}, "once is not enough"
    bench.rounds()
    assert bench.ailments == {"a": ALONE}


def test_guarded_ones_are_not_compared_with_others_nor_one_network_with_another() -> None:
    bench = Bench(way("a"), way("b"), way("classic", guarded=False), way("elsewhere", network="other"))
    bench.rounds()
    bench.find(a=SILENT, b=SILENT)
    bench.rounds(3)
    assert bench.ailments == {}


def test_an_address_that_somebody_entered_is_judged_by_what_others_know() -> None:
    bench = three()
    bench.find(a=PINNED)
    bench.rounds(MISSES)
    assert bench.ailments == {
        "a": f"somebody entered {OTHER_MAC} as the address of its gateway 203.0.113.1, which others here find at {MAC}"
    }
    right = three()
    right.find(a=Neighbour(reach=Reach.PINNED, mac=MAC))
    right.rounds(3)
    assert right.ailments == {}


def test_one_that_is_planned_anew_is_judged_anew() -> None:
    bench = three()
    bench.find(a=SILENT)
    bench.rounds(1)
    bench.ways[0] = way("a", epoch=2)
    bench.rounds(MISSES)
    assert bench.ailments == {}
    bench.rounds(1)
    assert bench.ailments == {"a": ALONE}


def test_one_that_is_not_active_any_more_is_not_looked_at() -> None:
    bench = three()
    bench.find(a=SILENT)
    bench.rounds(TOLD)
    del bench.ways[0]
    bench.rounds()
    assert bench.looks[-int(ROUND_S / BATCH_S)][1] == 2
    bench.gateways.take({RouterId("a"): HEARD}, bench.now)


def test_of_routers_and_gateways_that_were_here_once_nothing_is_kept() -> None:
    bench = three()
    bench.find(a=SILENT, b=SILENT, c=SILENT)
    bench.rounds(MISSES)
    kept = []
    for number in range(20):
        bench.ways = [way(f"r{number}", network=f"n{number}")]
        bench.finds = {bench.ways[0].router_id: HEARD if number % 2 else SILENT}
        bench.rounds(MISSES)
        gateways = bench.gateways
        kept.append([len(it) for it in (gateways._known, gateways._answered_at, gateways._macs, gateways._lost)])
    assert kept == [[1, 0, 0, 1], [1, 1, 1, 0]] * 10
