"""Which routers go to their standbys so that hosts carry alike."""

import random
from collections import Counter

from gapless.lab.api import Item
from gapless.lab.recovery import moves_to_even

HOSTS = ("a", "b", "c")


def router(number: int, host: str | None, standby: str | None, state: str = "ready") -> Item:
    return {"router_id": f"r{number:03d}", "host": host, "standby": standby, "standby_state": state}


def carried(routers: list[Item], moves: dict[str, str]) -> list[int]:
    count = Counter(moves.get(each["router_id"], each["host"]) for each in routers)
    return [count[host] for host in HOSTS]


def test_a_host_that_came_back_empty_gets_those_that_it_stands_by_for() -> None:
    routers = [router(number, "ab"[number % 2], "c") for number in range(9)]
    moves = dict(moves_to_even(routers, HOSTS))
    assert carried(routers, moves) == [3, 3, 3]
    assert set(moves.values()) == {"c"}


def test_only_a_standby_that_is_ready_gets_anything() -> None:
    assert moves_to_even([router(number, "a", "b", "building") for number in range(9)], HOSTS) == {}
    assert moves_to_even([router(number, "a", None) for number in range(9)], HOSTS) == {}


def test_what_is_even_stays() -> None:
    assert (
        moves_to_even([router(0, "a", "b"), router(1, "b", "c"), router(2, "c", "a"), router(3, "a", "c")], HOSTS) == {}
    )


def test_a_router_that_is_nowhere_is_no_reason_to_move_one() -> None:
    assert moves_to_even([router(0, None, None), router(1, "a", "b")], HOSTS) == {}


def test_no_host_ever_gets_more_than_it_should() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        routers = []
        for number in range(chance.randint(0, 40)):
            host, standby = chance.sample(HOSTS, 2)
            routers.append(router(number, host, standby))
        moves = dict(moves_to_even(routers, HOSTS))
        before, after = carried(routers, {}), carried(routers, moves)
        assert max(after) <= max(before), seed
        assert min(after) >= min(before), seed
        standbys = {each["router_id"]: each["standby"] for each in routers}
        assert all(standbys[router_id] == host for router_id, host in moves.items())
