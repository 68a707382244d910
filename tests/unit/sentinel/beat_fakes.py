"""A guard and an announcer that run in memory and fail when told to, and what a beat's routers look like."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from gapless.errors import Conflict, GaplessError, Unavailable
from gapless.model.host import Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, Guarded, Role, Successor
from gapless.model.router import RouterId
from gapless.sentinel.beat.announce import Burst
from gapless.sentinel.beat.preparing import Port
from gapless.wire.beat import BeatRouter

X, Y, Z = RouterId("x"), RouterId("y"), RouterId("z")


def router(
    router_id: RouterId,
    *taps: str,
    role: Role = Role.ACTIVE,
    epoch: int = 1,
    incarnation: int = 1,
    after: tuple[Tenure, ...] = (),
    release: Successor | None = None,
) -> BeatRouter:
    guarded = Guarded(role=role, incarnation=Incarnation(incarnation), after=after, release=release)
    return BeatRouter(
        router_id=router_id, epoch=Epoch(epoch), guarded=guarded, taps=taps or (f"tap-{router_id}",), ports=()
    )


@dataclass
class FakeGuard:
    """The kernel's active set and lease. `fail_next` says what the next calls of a name raise, one after another."""

    active: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    """What is active as far as the kernel has answered, which `restore` puts into the kernel."""
    until: float = -inf
    until_s: float = -inf
    """Of the lease that it was asked to hold last, which `restore` puts into the kernel."""
    is_there: bool = True
    """False: somebody else removed the guard, and everything passes."""
    is_exclusive: bool = True
    """False: somebody else may remove it."""
    calls: list[str] = field(default_factory=list)
    fail_next: dict[str, list[GaplessError]] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    """Calls whose next one the kernel carries out, and its answer is lost."""
    before: Callable[[str], None] = lambda _: None

    def extend(self, until_s: float) -> None:
        self.until_s = until_s
        self._call("extend")
        self.until = until_s

    def activate(self, names: Iterable[str]) -> None:
        wanted = set(names) - self.asked
        if wanted:
            self._call("activate", lambda: self.active.update(wanted))
        self.asked |= wanted

    def deactivate(self, names: Iterable[str]) -> None:
        unwanted = set(names) & self.asked
        if unwanted:
            self._call("deactivate", lambda: self.active.difference_update(unwanted))
        self.asked -= unwanted

    def withdraw(self) -> None:
        self.until_s = -inf
        self._call("withdraw")
        self.until = -inf
        self.active.clear()
        self.asked.clear()

    def restore(self) -> None:
        self._call("restore")
        self.is_there, self.until, self.active = True, self.until_s, set(self.asked)

    def fails(self, name: str, *errors: GaplessError) -> None:
        self.fail_next[name] = list(errors) or [Unavailable(f"{name} is not to be had")]

    def loses_answers(self, *calls: str) -> None:
        self.unanswered += calls

    def is_taken_away(self) -> None:
        self.is_there = self.is_exclusive = False

    def passes(self, now: float) -> set[str]:
        """Taps whose frames pass."""
        return set(self.active) if now < self.until else set()

    def _call(self, name: str, carry_out: Callable[[], None] = lambda: None) -> None:
        self.before(name)
        self.calls.append(name)
        if errors := self.fail_next.get(name):
            raise errors.pop(0)
        if not self.is_there and name != "restore":
            raise Conflict("the guard was removed by somebody else")
        carry_out()
        if name in self.unanswered:
            self.unanswered.remove(name)
            raise Conflict("nobody knows whether that was done")


@dataclass
class FakeAnnouncer:
    """Announces into a list; some routers are not ready, and some become it."""

    sent: list[RouterId] = field(default_factory=list)
    chunks: list[list[RouterId]] = field(default_factory=list)
    prepared: list[RouterId] = field(default_factory=list)
    ports: dict[RouterId, tuple[Port, ...]] = field(default_factory=dict)
    forgotten: list[RouterId] = field(default_factory=list)
    unready: set[RouterId] = field(default_factory=set)
    whole: list[RouterId] = field(default_factory=list)
    pause: Callable[[], None] = lambda: None
    """Happens after each router."""
    turns: list[int] = field(default_factory=list)
    """Of each chunk."""

    @property
    def is_preparing(self) -> bool:
        return bool(self.unready)

    def become_whole(self, *routers: RouterId) -> None:
        self.unready -= set(routers)
        self.whole += routers

    def became_whole(self) -> list[RouterId]:
        whole, self.whole = self.whole, []
        return whole

    def prepare(self, router_id: RouterId, ports: Sequence[Port]) -> None:
        self.prepared.append(router_id)
        self.ports[router_id] = tuple(ports)

    def forget(self, router_id: RouterId) -> None:
        self.forgotten.append(router_id)

    def burst(self, routers: Iterable[RouterId], may_send: Callable[[], bool], turn: int = 0) -> Burst:
        done, chunk = Burst(), []
        self.turns.append(turn)
        for router_id in routers:
            if done.unsent or not may_send():
                done.unsent.append(router_id)
                continue
            chunk.append(router_id)
            (done.unready if router_id in self.unready else self.sent).append(router_id)
            self.pause()
        self.chunks.append(chunk)
        return done
