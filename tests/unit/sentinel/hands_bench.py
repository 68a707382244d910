"""A beat's hands on a guard in memory, with a diary of what their witness was told."""

from collections.abc import Collection, Iterable, Mapping
from math import inf

from beat_fakes import FakeAnnouncer, FakeGuard, X, Y, Z, router

from gapless.core.edge.beatevents import Activate, ArbitersLost, BeatEvent, Deactivate, Tell, Withdraw
from gapless.model.plan import Epoch
from gapless.model.router import RouterId
from gapless.sentinel.beat.announcements import Announcements
from gapless.sentinel.beat.hands import Hands, KernelEffect

NEWS = Tell(news=ArbitersLost(arbiters=()))
WITHDRAW = Withdraw(reason="its lease lapsed")


class Bench:
    """Hands, with a diary of what the witness was told; nothing is open that it was not told of."""

    def __init__(self) -> None:
        self.guard = FakeGuard(before=self.check)
        self.announcer = FakeAnnouncer()
        self.announcements = Announcements(self.announcer, lambda: 0.0, lease_until=lambda: inf)
        self.told: set[RouterId] = set()
        self.done: list[RouterId] = []
        self.diary: list[str] = []
        self.troubles: set[str] = set()
        self.hands = Hands(self.guard, self.announcements, self)
        self.hands.plan([router(each) for each in (X, Y, Z)], [])

    def check(self, call: str = "") -> None:
        assert self.hands.open_routers <= self.told
        assert self.guard.active <= {f"tap-{each}" for each in self.told} | {"tap-new"}, f"opened untold, at {call}"

    def opened(self, routers: Mapping[RouterId, Epoch]) -> None:
        self.told |= routers.keys()
        self.diary.append(f"opened {' '.join(routers)}")

    def passing(self, routers: Collection[RouterId]) -> None:
        assert {f"tap-{each}" for each in routers} <= self.guard.active, "said before it is so"
        self.done += routers

    def closed(self, routers: Iterable[RouterId]) -> None:
        self.told -= set(routers)
        self.diary.append(f"closed {' '.join(routers)}")

    def tell(self, news: Tell) -> None:
        self.diary.append("news")

    def trouble(self, what: str, reason: str) -> None:
        if reason:
            self.diary.append(f"cannot {what}")
            self.troubles.add(what)
        else:
            self.troubles.discard(what)

    def restored(self) -> None:
        self.diary.append("restored")

    def do(self, *effects: KernelEffect) -> list[BeatEvent]:
        """As one turn of the loop: what is to be closed comes last."""
        answers = list(self.hands.carry_out(effects))
        self.check()
        answers += self.hands.close_some()
        self.check()
        return answers

    def announced(self) -> list[RouterId]:
        while self.announcements.next_deadline() == 0.0:
            self.announcements.work()
        sent, self.announcer.sent = self.announcer.sent, []
        return sent


def activate(*routers: RouterId) -> Activate:
    return Activate(routers=dict.fromkeys(routers, Epoch(1)), cause=None, reason="its plan says so")


def deactivate(*routers: RouterId) -> Deactivate:
    return Deactivate(routers=routers, reason="its plan says so")
