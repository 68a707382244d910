"""The database, made up: conditional writes, like the real one, that can fail before or (worse) after they are done."""

from dataclasses import dataclass, field, replace

from gapless.core.effects import Bind, RecordStep, StorePanel, StoreSuccession, StoreWithdrawal
from gapless.core.events import RouterNeeds
from gapless.core.ledger.views import StoredHost, StoredRouter, StoredWord
from gapless.errors import Conflict, NotFound, StoreUnavailable
from gapless.model.host import HostFacts, HostName, Incarnation, InstanceId, others_up_to
from gapless.model.lease import NOBODY, Panel
from gapless.model.plan import Epoch, MoveKind, MoveStep, Successor
from gapless.model.router import RouterId

QUICK_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A row of the bindings table."""

    host: HostName
    epoch: Epoch
    leaving: HostName | None
    incarnation: Incarnation | None = None
    leaving_incarnation: Incarnation | None = None
    successors: tuple[Successor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What is known of a host's name for ever."""

    instance: InstanceId
    started: Incarnation
    highest: Incarnation
    outlived: Incarnation
    confirmed: Incarnation = NOBODY


@dataclass(slots=True, kw_only=True)
class MoveRecord:
    """A row of the moves table."""

    kind: MoveKind
    steps: dict[MoveStep, float] = field(default_factory=dict)


class FakeStore:
    """Survives every crash of the controller."""

    def __init__(self) -> None:
        self.names: dict[HostName, Name] = {}
        self.hosts: dict[HostName, StoredHost] = {}
        self.needs: dict[RouterId, RouterNeeds] = {}
        self.bindings: dict[RouterId, Binding] = {}
        self.moves: dict[tuple[RouterId, Epoch], MoveRecord] = {}
        self.panel: Panel | None = None
        self.answers_after_s = QUICK_S
        """How long after a write its answer comes."""
        self.is_failing = False
        self.fails_after_writing = False
        """The nasty case: the write is done, and then the connection to the database breaks. Only reading tells."""

    def name(self, facts: HostFacts, incarnation: Incarnation) -> Incarnation:
        """A machine connects under its name; returns what its incarnations have to be above."""
        known = self.names.get(facts.name)
        if known is None:
            known = Name(instance=facts.instance, started=incarnation, highest=incarnation, outlived=NOBODY)
        outlived = known.outlived if known.instance == facts.instance else others_up_to(known.highest)
        started = max(incarnation, Incarnation(outlived + 1))
        self.names[facts.name] = Name(
            instance=facts.instance,
            started=started,
            highest=max(known.highest, started),
            outlived=outlived,
            confirmed=known.confirmed,
        )
        return outlived

    def confirm_off(self, name: HostName, up_to: Incarnation) -> None:
        """An operator's word. Raises StoreUnavailable while it fails."""
        self._fail_before()
        known = self.names[name]
        highest, outlived = max(known.highest, up_to), max(known.outlived, up_to)
        self.names[name] = replace(known, highest=highest, outlived=outlived, confirmed=max(known.confirmed, up_to))
        self._fail_after()

    def words(self) -> list[StoredWord]:
        """What a controller reads of such words when it starts."""
        return [
            StoredWord(host=name, up_to=known.confirmed, is_off=known.confirmed >= known.started)
            for name, known in self.names.items()
            if known.confirmed
        ]

    def routers(self) -> list[StoredRouter]:
        """Everything a controller reads of routers when it starts."""
        return [self._router(needs) for needs in self.needs.values()]

    def _router(self, needs: RouterNeeds) -> StoredRouter:
        binding = self.bindings.get(needs.router_id)
        if binding is None:
            return StoredRouter(needs=needs)
        move = self.moves[needs.router_id, binding.epoch]
        is_open = not move.steps.keys() & {MoveStep.CONFIRMED, MoveStep.SUPERSEDED}
        return StoredRouter(
            needs=needs,
            host=binding.host,
            epoch=binding.epoch,
            leaving_host=binding.leaving,
            open_move=move.kind if is_open else None,
            incarnation=binding.incarnation,
            leaving_incarnation=binding.leaving_incarnation,
            successors=binding.successors,
        )

    def bind(self, effect: Bind, now: float) -> None:
        """Raises NotFound for a deleted router, Conflict for a stale epoch, StoreUnavailable while it fails."""
        self._fail_before()
        stored = self.bindings.get(effect.router_id)
        epoch = 0 if stored is None else stored.epoch
        if effect.router_id not in self.needs:
            raise NotFound(f"router {effect.router_id} was deleted")
        if stored is not None and (stored.host, stored.epoch) == (effect.host, effect.epoch):
            self.bindings[effect.router_id] = replace(stored, leaving=effect.leaving_host)
            self._fail_after()
            return
        if effect.replaces != epoch:
            raise Conflict(f"router {effect.router_id} is at epoch {epoch}, so {effect.epoch} is stale")
        rights = () if stored is None else stored.successors
        self.bindings[effect.router_id] = Binding(
            host=effect.host,
            epoch=effect.epoch,
            leaving=effect.leaving_host,
            incarnation=effect.incarnation,
            leaving_incarnation=effect.leaving_incarnation,
            successors=tuple(each for each in rights if each.epoch > effect.epoch),
        )
        steps = {MoveStep.DECIDED: now, MoveStep.BOUND: now} | {step: now - ago_s for step, ago_s in effect.over}
        self.moves[effect.router_id, effect.epoch] = MoveRecord(kind=effect.kind, steps=steps)
        self._fail_after()

    def withdraw(self, effect: StoreWithdrawal) -> None:
        """As `bind`."""
        self._fail_before()
        stored = self.bindings.get(effect.router_id)
        if stored is None:
            raise NotFound(f"router {effect.router_id} was deleted")
        if stored.epoch != effect.epoch:
            raise Conflict(f"router {effect.router_id} is not at epoch {effect.epoch}")
        self.bindings[effect.router_id] = replace(stored, leaving=None, leaving_incarnation=None)
        self._fail_after()

    def succeed(self, effect: StoreSuccession) -> None:
        """As `withdraw`."""
        self._fail_before()
        stored = self.bindings.get(effect.router_id)
        if stored is None:
            raise NotFound(f"router {effect.router_id} was deleted")
        if stored.epoch != effect.epoch:
            raise Conflict(f"router {effect.router_id} is not at epoch {effect.epoch}")
        self.bindings[effect.router_id] = replace(stored, incarnation=effect.incarnation, successors=effect.successors)
        self._fail_after()

    def appoint(self, effect: StorePanel) -> None:
        """Store the arbiters."""
        self._fail_before()
        self.panel = effect.panel
        self._fail_after()

    def record(self, effect: RecordStep, now: float) -> None:
        """A step of a move; the first time counts. Lost while the store fails: it is for people only."""
        if not self.is_failing and (move := self.moves.get((effect.router_id, effect.epoch))):
            move.steps.setdefault(effect.step, now - effect.ago_s)

    def delete_router(self, router_id: RouterId) -> None:
        """As the API does it."""
        self.needs.pop(router_id)
        self.bindings.pop(router_id, None)

    def _fail_before(self) -> None:
        if self.is_failing and not self.fails_after_writing:
            raise StoreUnavailable("the database cannot be written")

    def has(self, effect: Bind | StoreWithdrawal | StoreSuccession | StorePanel) -> bool:
        """Whether what a write was to bring about is so."""
        if isinstance(effect, StorePanel):
            return self.panel == effect.panel
        stored = self.bindings.get(effect.router_id)
        if stored is None or stored.epoch != effect.epoch:
            return False
        if isinstance(effect, StoreWithdrawal):
            return stored.leaving is None
        if isinstance(effect, StoreSuccession):
            return (stored.incarnation, stored.successors) == (effect.incarnation, effect.successors)
        return (stored.host, stored.leaving) == (effect.host, effect.leaving_host)

    def _fail_after(self) -> None:
        if self.is_failing and self.fails_after_writing:
            raise StoreUnavailable("the connection to the database broke after the write")
