"""How a guarded router is bound anew: to a host that may have it active, at that host's incarnation.

The rule: a successor gets it at the epoch of its right; anybody else at the next one, once nobody may succeed. A host
that has it still is waited for first, at the incarnation at which it has it.
"""

from gapless.core.effects import Bind
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.routers import RouterRecord
from gapless.core.ledger.succession import Right
from gapless.core.planner.binding import Binding
from gapless.core.planner.wishes import Stay, Wish
from gapless.model.host import Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch

Answer = Stay | Wish | None
"""None: something is under way, and says itself what."""


def bound_to(router: RouterRecord) -> Tenure:
    """The tenure that a guarded router is bound to."""
    assert router.host is not None
    assert router.succession.covered is not None
    return Tenure(router.host, router.succession.covered)


class Rebinding:
    """Asks for bindings of guarded routers; a while later, if one could not be stored."""

    def __init__(self, ledger: Ledger, binding: Binding) -> None:
        self._ledger = ledger
        self._binding = binding

    def bind_successor(self, router: RouterRecord, wish: Wish, right: Right, *, leaving: Host | None = None) -> Answer:
        """Bind it to the first who may succeed, which is ready."""
        host = self._ledger.fleet.get(right.tenure.host)
        assert host is not None
        choice = f"{host.name} stands by for it"
        return self.bind(router, wish, host, right.tenure.incarnation, choice, epoch=right.epoch, leaving=leaving)

    def bind(
        self,
        router: RouterRecord,
        wish: Wish,
        target: Host,
        incarnation: Incarnation,
        choice: str,
        *,
        epoch: Epoch | None = None,
        leaving: Host | None = None,
    ) -> Answer:
        """Bind it anew. `epoch`: of the right that `target` has; without one, nobody has any. `leaving`: its present
        host, if that has to close it first.
        """
        if (retry_at := router.store.waits_until("bind", self._ledger.now)) is not None:
            self._ledger.looks.later(router.id, retry_at)
            return None
        router.cause, following = self._ledger.cause, Epoch(router.epoch + 1)
        bind = Bind(
            router_id=router.id,
            host=target.name,
            epoch=epoch or following,
            skipped=0 if epoch is None else epoch - following,
            previous_host=router.host,
            leaving_host=None if leaving is None else leaving.name,
            kind=wish.kind,
            silent_s=None,
            choice=choice,
            reason=wish.reason,
            cause=router.cause,
            incarnation=incarnation,
            leaving_incarnation=None if leaving is None else self._incarnation_of(router, leaving),
        )
        self._binding.ask_for(router, bind)
        return None

    def _incarnation_of(self, router: RouterRecord, leaving: Host) -> Incarnation | None:
        """That at which the host that it leaves has it: it was bound there, or leaves it already."""
        return router.succession.leaving if router.leaving == leaving.name else router.succession.covered
