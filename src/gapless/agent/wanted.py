"""What each router is to look like in this host's kernel: worked out once, and remembered while nothing is different.

A look at a router that nobody changed would render its rules, and tell how the kernel lists them, only to find what the
look before it found. The rule: what is remembered is held against all that it depends on, by value. While it is not
known how the kernel lists a router's rules nothing is remembered, for that may be known at the next look.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from gapless.agent.kernel import ruleset
from gapless.core.dataplane.desired import desired_router
from gapless.model.observed import KernelRouter
from gapless.model.router import Router, RouterId
from gapless.model.steering import Outside

_Given = tuple[Router, Mapping[str, str], bool, Outside | None]


class Wanted:
    """Of one host. Thread-safe for different routers."""

    def __init__(self, listed: Callable[[Router], Mapping[str, str]]) -> None:
        """`listed`: how the kernel lists a router's rules, which stays so once it is known (`Reference.of`)."""
        self._listed = listed
        self._held: dict[RouterId, tuple[_Given, KernelRouter]] = {}

    def of(self, router: Router, bridges: Mapping[str, str], guarded: bool, outside: Outside | None) -> KernelRouter:
        """What a router is to look like; the arguments are those of `desired_router`, and are not changed later."""
        given = router, bridges, guarded, outside
        held = self._held.get(router.id)
        if held is not None and held[0] == given:
            return held[1]
        self._held.pop(router.id, None)
        rules = replace(ruleset.render(router), listed=self._listed(router))
        state = desired_router(router, rules, bridges, guarded, outside)
        if rules.listed:
            self._held[router.id] = given, state
        return state

    def forget(self, router_ids: Iterable[RouterId]) -> None:
        """These routers are gone."""
        for router_id in router_ids:
            self._held.pop(router_id, None)
