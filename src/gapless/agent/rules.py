"""Rules of this host's routers: how the kernel is to list them, what it lists, and how they are loaded.

They are copied from what the kernel lists of the same rules elsewhere (`kernel.rulecopies`), or else loaded as text.
"""

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gapless.agent.kernel import rulecopies, ruleset
from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.observe import Inside
from gapless.agent.kernel.reference import Reference
from gapless.kernel.transactions import Refusal, Transactions
from gapless.model.observed import Ruleset
from gapless.model.router import Router, RouterId

_OF_THE_MOMENT: Final = frozenset({errno.EEXIST, errno.ENOENT, errno.ENOMEM, errno.ENOBUFS, errno.EINTR})
"""Refusals that say nothing of what was copied: somebody came in between, so that a table is there, or is not; or the
kernel was short of something."""


class Rules:
    """Thread-safe for different routers."""

    def __init__(self) -> None:
        self._reference = Reference()
        self._seen = ruleset.Seen()

    def listed(self, router: Router) -> Mapping[str, str]:
        """As `Reference.of`."""
        return self._reference.of(router)

    def observe(self, router_id: RouterId, inside: Inside) -> Ruleset | None:
        """What a router has, read once after each transaction. Raises Unavailable."""
        return self._seen.observe(router_id, inside.namespace, inside.tables)

    def forget(self, router_ids: Iterable[RouterId]) -> None:
        """Something is done to these."""
        self._seen.forget(router_ids)

    def load(
        self,
        router: Router,
        rules: Ruleset,
        opened: Callable[[], Transactions],
        opened_for_text: Callable[[], Nft],
        *,
        replace: bool,
    ) -> None:
        """Load rules, in place of those that are there or where there are none. `opened` opens a socket in the router's
        namespace, `opened_for_text` a context of libnftables. Raises Unavailable with the reason.
        """
        messages, refusal = self._reference.copy(router, rules), None
        if messages is not None:
            try:
                rulecopies.load(opened(), messages, is_there=replace)
            except Refusal as error:
                refusal = error
            else:
                return
        is_there = replace or (refusal is not None and refusal.number == errno.EEXIST)
        ruleset.load(opened_for_text(), rules, replace=is_there)
        if refusal is not None and refusal.number not in _OF_THE_MOMENT:
            self._reference.refused(router, refusal)
