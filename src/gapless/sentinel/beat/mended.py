"""A guard that others may change, as its beat uses it: where it was changed it is put back, and what was asked is done.

The rule: as long as it is changed and not put back, that is tried before anything else is done to it. Once a turn: who
changes it again at once may do so all the time, and a turn is short. But a lease that came back with it, and is to end
now, is not left to the next turn.

The second rule: taps that were to pass when it was found changed may pass, until it is put back without them. The
kernel may have carried that out, and its answer was lost.

That it was away is said when it is put back, since frames passed that must not. Where it is changed again before
anything went through, it is said once more when something did, and not each time: whoever hears that announces
everything.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from math import inf
from typing import Protocol

from gapless.errors import Conflict, GaplessError


class Guarding(Protocol):
    """`sentinel.beat.guard.Guard`, as far as it is used here. Each call raises Unavailable, or Conflict."""

    @property
    def is_exclusive(self) -> bool:
        """Whether nobody else can change it: then it stands, whatever fails."""

    @property
    def until_s(self) -> float:
        """When the lease ends that it was asked to hold last: right after `restore`, the one that the kernel has."""

    def extend(self, until_s: float) -> None:
        """Let the lease end then."""

    def activate(self, names: Iterable[str]) -> None:
        """Let these taps pass frames."""

    def deactivate(self, names: Iterable[str]) -> None:
        """Let these taps pass none."""

    def withdraw(self) -> None:
        """Let nothing pass."""

    def restore(self) -> None:
        """Put the guard back as it should be."""


class Told(Protocol):
    """Who is told how the guard is."""

    def trouble(self, what: str, reason: str) -> None:
        """Something could not be done and is tried again; or could (`reason` empty)."""

    def restored(self) -> None:
        """The guard, which somebody else may have removed, is as it should be again."""


_KEEP, _PUT_BACK = "keep the guard", "put the guard back"


class MendedGuard:
    """One beat's. What changes it raises GaplessError where that cannot be done, nor after the guard was put back."""

    def __init__(self, guard: Guarding, told: Told) -> None:
        self._guard = guard
        self._told = told
        self._taken_until_s = -inf
        self._broken_by: str | None = None
        """Why it may let pass what must not: it was changed, or an answer was lost. None: it is as it should be."""
        self._unsure: set[str] = set()
        """Taps that were to pass when that was found."""
        self._was_put_back = False
        """In this turn, and nothing went through since."""
        self._returns = 0
        """How often it was put back since something went through."""
        self.was_used = False
        """Something was asked of it; whoever looks after it sets that back."""

    @property
    def is_away(self) -> bool:
        """Somebody else may have removed it, and it is not put back: every guarded tap may pass frames."""
        return self._broken_by is not None and not self._guard.is_exclusive

    @property
    def taken_until_s(self) -> float:
        """When the lease ends that the kernel took last, by a renewal or as a part of the guard that was put back."""
        return self._taken_until_s

    def may_pass(self, names: Collection[str]) -> bool:
        """Of taps that could not be activated: whether some may pass all the same."""
        return not self._unsure.isdisjoint(names)

    def begin_turn(self) -> None:
        """Put it back if it is changed, whatever else is to be done."""
        self._was_put_back = False
        if self._broken_by is not None:
            with suppress(GaplessError):
                self._put_back()

    def extend(self, until_s: float) -> None:
        """Let the lease end then."""
        self._change(lambda: self._guard.extend(until_s))
        self._taken_until_s = until_s

    def activate(self, names: Iterable[str]) -> None:
        """Let these taps pass frames."""
        opening = frozenset(names)
        self._change(lambda: self._guard.activate(opening), opening)

    def deactivate(self, names: Iterable[str]) -> None:
        """Let these taps pass none."""
        self._change(lambda: self._guard.deactivate(names))

    def withdraw(self) -> None:
        """Let nothing pass."""
        self._change(self._guard.withdraw)
        self._taken_until_s = -inf

    def _change(self, action: Callable[[], None], opening: Collection[str] = ()) -> None:
        if self._broken_by is not None:
            self._put_back()
        self.was_used = True
        try:
            action()
        except Conflict as error:
            self._found_broken(error, opening)
            self._put_back()
            try:
                action()
            except Conflict as again:
                self._found_broken(again, opening)
                raise
        self._went_through()

    def _found_broken(self, error: Conflict, opening: Collection[str]) -> None:
        self._broken_by = str(error)
        self._unsure.update(opening)
        self._told.trouble(_KEEP, str(error))

    def _put_back(self) -> None:
        if self._was_put_back and self._guard.until_s >= self._taken_until_s:
            raise Conflict(f"{self._broken_by}")
        try:
            self._guard.restore()
        except GaplessError as error:
            self._told.trouble(_PUT_BACK, str(error))
            raise
        self._broken_by, self._taken_until_s = None, self._guard.until_s
        self._unsure.clear()
        self._was_put_back = True
        self._returns += 1
        self._told.trouble(_PUT_BACK, "")
        if self._returns == 1:
            self._say_restored()

    def _went_through(self) -> None:
        self._was_put_back = False
        if self._returns > 1:
            self._say_restored()
        if self._returns:
            self._told.trouble(_KEEP, "")
        self._returns = 0

    def _say_restored(self) -> None:
        if not self._guard.is_exclusive:
            self._told.restored()
