"""What follows repairs of rules: all of it, in turn, and nobody waits where there is room; no kernel is asked."""

import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from gapless.agent.kernel import aftermath, conntrack
from gapless.agent.kernel.aftermath import ROOM, Aftermath
from gapless.agent.kernel.observe import Inside
from gapless.errors import Unavailable
from gapless.model.router import RouterId

HANGS_S = 60.0
"""Nothing takes that long: what is not done by then never is."""


class Socket:
    """Of a router, which is closed in its own time."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Sockets:
    """Stands for `Inside`."""

    def __init__(self, when_closed: Callable[[], object] = lambda: None) -> None:
        self.netlink, self.packets = Socket(), Socket()
        self.tables = self
        self._when_closed = when_closed

    def close(self) -> None:
        self._when_closed()


class Held:
    """A close that waits until it may go on."""

    def __init__(self) -> None:
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.has_begun.set()
        assert self.may_go_on.wait(HANGS_S)


@pytest.fixture
def following() -> Iterator[Aftermath]:
    made = Aftermath()
    yield made
    made.close()


def give(following: Aftermath, sockets: Sockets, router: str = "r", *, forgets: bool = False) -> None:
    following.take(RouterId(router), cast(Inside, sockets), forgets_unanswered=forgets)


def test_who_gives_goes_on_and_all_is_done_in_turn(following: Aftermath) -> None:
    held, done = Held(), list[int]()
    give(following, Sockets(held))
    assert held.has_begun.wait(HANGS_S)
    sockets = [Sockets(lambda number=number: done.append(number)) for number in range(ROOM)]  # type: ignore[misc]
    for each in sockets:
        give(following, each)
    assert done == []
    assert all(each.netlink.is_closed for each in sockets), "that takes no time"
    assert all(each.packets.is_closed for each in sockets), "it is rare, and another kind of wait"
    held.may_go_on.set()
    following.close()
    assert done == list(range(ROOM))


def test_where_there_is_no_room_who_brings_more_waits_for_it(following: Aftermath) -> None:
    held, by = Held(), list[threading.Thread]()
    give(following, Sockets(held))
    assert held.has_begun.wait(HANGS_S)
    for _ in range(ROOM + 1):
        give(following, Sockets(lambda: by.append(threading.current_thread())))
    assert by == [threading.current_thread()], "the one too many"
    held.may_go_on.set()
    following.close()
    assert len(by) == ROOM + 1
    assert len(set(by)) == 2


def test_flows_are_forgotten_before_their_sockets_are_closed_and_what_fails_is_told(
    following: Aftermath, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    done: list[str] = []

    def forget(of: object) -> int:
        done.append("asked")
        if len(done) == 1:
            raise Unavailable("list tracked connections: no")
        return 0

    monkeypatch.setattr(conntrack, "forget_unanswered", forget)
    for router in ("r1", "r2"):
        give(following, Sockets(lambda: done.append("closed")), router, forgets=True)
    give(following, Sockets(lambda: done.append("closed")), "r3")
    following.close()
    assert done == ["asked", "closed", "asked", "closed", "closed"]
    (told,) = [line for line in log_lines if "list tracked connections: no" in line]
    assert "r1" in told


def test_what_is_brought_after_the_end_is_done_at_once(following: Aftermath) -> None:
    following.close()
    done: list[int] = []
    give(following, Sockets(lambda: done.append(1)))
    assert done == [1]


def test_of_what_is_not_done_when_the_agent_ends_the_flows_are_told(
    following: Aftermath, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    held = Held()
    monkeypatch.setattr(aftermath, "_PATIENCE_S", 0.0)
    give(following, Sockets(held))
    assert held.has_begun.wait(HANGS_S)
    give(following, Sockets(), "closes")
    give(following, Sockets(), "forgets", forgets=True)
    monkeypatch.setattr(conntrack, "forget_unanswered", lambda _: 0)
    following.close()
    held.may_go_on.set()
    following._thread.join(HANGS_S)
    (told,) = [line for line in log_lines if "in time" in line]
    assert "forgets" in told
    assert "closes" not in told


def test_a_mistake_of_ours_stops_no_other_routers_aftermath(following: Aftermath, log_lines: list[str]) -> None:
    done: list[int] = []
    give(following, Sockets(lambda: done.remove(7)), "r1")
    give(following, Sockets(lambda: done.append(2)), "r2")
    following.close()
    assert done == [2]
    (told,) = [line for line in log_lines if "a bug in Gapless" in line]
    assert "r1" in told
