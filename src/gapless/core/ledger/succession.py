"""Who may succeed the host that a guarded router is active on, in which order, and how far each right has come.

Each right goes through one table:

    NOBODY ──chosen──► CHOSEN ──stored──► GIVEN ──take──► TAKING ──ended──► TAKEN ──erased──► NOBODY
      ▲                  │                  ├──ended (its tenure is over)─────► │
      └────not stored────┘                  └──promoted (the router is bound to it now)──► NOBODY

Theory: a host dies, and its successor becomes active without asking anybody, because it has the right to (the arbiters
buried the host before). So the right is what must never be doubled, and it moves in two steps: it is taken from one
host, who acknowledges or is over, that is stored, and only then is it given to another (Gray and Cheriton 1989: whoever
may have been promised something is asked, or outlived).

The rule: a right is given to a tenure, a host in one incarnation. It is stored before it is given (CHOSEN), and it is
not over before that is known for certain: its host says that its guard works from a plan without the right, and that
the router is not open there; or its host is at a higher incarnation; or the arbiters have buried it.

Rights are ranked: each waits for the host that the router is bound to, for the one that it still leaves, and for every
right before its own (`ahead_of`), however far that has come. A new one comes last, and none changes places, so what a
right waits for only ever shrinks: by what is over, or acknowledged, and stored as such. Each is for an epoch of its
own, above those before it, which may have been used unheard.

The invariant: of any two hosts that forward a router or may begin to, one waits for the other's tenure to be over.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Epoch, MoveStep, RouterReport, RouterState, Successor, TakeoverTimes


class RightState(StrEnum):
    """How far the right to succeed has come."""

    NOBODY = "nobody"
    """Only a plan can make another host active."""
    CHOSEN = "chosen"
    """The next standby is being stored; it builds already."""
    GIVEN = "given"
    """Stored: its plan gives it the right."""
    TAKING = "taking"
    """Its plan gives the right no more; it has not said yet that it knows."""
    TAKEN = "taken"
    """It has lost the right for certain; that is being stored."""


class Trigger(StrEnum):
    """What moves a right from state to state."""

    CHOSEN = "chosen"
    STORED = "stored"
    NOT_STORED = "not stored"
    TAKE = "taken away"
    ENDED = "ended"
    """Acknowledged, or the tenure is over."""
    ERASED = "erased"
    PROMOTED = "promoted"


_S, _T = RightState, Trigger

TABLE: dict[tuple[RightState, Trigger], RightState] = {
    (_S.NOBODY, _T.CHOSEN): _S.CHOSEN,
    (_S.CHOSEN, _T.STORED): _S.GIVEN,
    (_S.CHOSEN, _T.NOT_STORED): _S.NOBODY,
    (_S.GIVEN, _T.TAKE): _S.TAKING,
    (_S.GIVEN, _T.ENDED): _S.TAKEN,
    (_S.GIVEN, _T.PROMOTED): _S.NOBODY,
    (_S.TAKING, _T.ENDED): _S.TAKEN,
    # It took over before it heard that it must not any more.
    (_S.TAKING, _T.PROMOTED): _S.NOBODY,
    (_S.TAKEN, _T.ERASED): _S.NOBODY,
}

MAY_SUCCEED = frozenset({_S.GIVEN, _S.TAKING})
"""States in which the standby may have become active by itself."""


def after(state: RightState, trigger: Trigger) -> RightState:
    """The state that follows. Raises InvariantError for a pair that cannot happen."""
    try:
        return TABLE[state, trigger]
    except KeyError:
        raise InvariantError(f"a right to succeed that is {state} cannot be {trigger}") from None


@dataclass(slots=True, kw_only=True)
class Right:
    """One host's right to succeed, and how far it has come."""

    tenure: Tenure
    """Who has it, or is being given it, or has not lost it for certain."""
    epoch: Epoch
    """That at which it would be active."""
    state: RightState = RightState.NOBODY
    taken_version: int = 0
    """In TAKING: the first version of its host's plan without it."""

    def step(self, trigger: Trigger) -> None:
        """Follow the table."""
        self.state = after(self.state, trigger)

    @property
    def successor(self) -> Successor:
        """As it is stored."""
        return Successor(tenure=self.tenure, epoch=self.epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class TookOver:
    """A successor says that it became active, which is true whether or not it is stored."""

    by: Tenure
    epoch: Epoch
    times: TakeoverTimes | None
    """None: it says only that the router is open there; the story was told to a controller that is gone."""
    heard_at: float
    is_released: bool = False
    """Its host before lives, and released it; False: that one's tenure is over."""


@dataclass(slots=True, kw_only=True)
class Succession:
    """What the planner keeps of one router's guard, beside its binding."""

    covered: Incarnation | None = None
    """The incarnation of its host at which it is guarded, as stored. None: a classic binding, forwarding unguarded."""
    leaving: Incarnation | None = None
    """That of the host that it leaves; None where it leaves none, or one on which it is not guarded."""
    has_arrived: bool = False
    """While it leaves a host, which released it or is over: the one that it is bound to has it open. Not stored."""
    stays_at: Epoch | None = None
    """While it leaves a host, and the one that it goes to is over: the epoch at which the former still has it open, and
    keeps it so. Not stored."""
    rights: list[Right] = field(default_factory=list)
    """Who may succeed, by rank."""
    lost: list[Right] = field(default_factory=list)
    """Who had a right at this epoch and has lost it for certain; it may have used it before. Not stored."""
    withdrawn: Epoch = Epoch(0)  # noqa: RUF009 - a NewType: the call is the number itself
    """The highest epoch at which a host had it in its plan as a standby, and has it no more. Not stored."""
    former: HostName | None = None
    """A host that has it built, without any right: the first choice for the next standby. Not stored."""
    took: TookOver | None = None
    """A takeover that was heard of and is not stored yet."""
    told: frozenset[MoveStep] = frozenset()
    """Steps in the record of its last takeover; without OPENED, it was only heard to be open so far."""
    opened_at: float | None = None
    """When it was open, by that record; or, without OPENED in that, when it was heard to be."""
    calm_until: float = -inf
    """After a takeover, nothing is built elsewhere for a while."""
    lost_at: float | None = None
    """Since when its host is known to be over, with nobody to succeed it."""
    said: dict[HostName, RouterReport] = field(default_factory=dict)
    """The last word of each host that has it in its plan."""

    def right_of(self, host: HostName) -> Right | None:
        """The right that this host has, in whatever state."""
        return next((right for right in self.rights if right.tenure.host == host), None)

    def before(self, right: Right) -> list[Tenure]:
        """Those of lower ranks."""
        return [each.tenure for each in self.rights if each.epoch < right.epoch]

    def next_epoch(self, bound: Epoch) -> Epoch:
        """The epoch of whoever comes next: above that of the binding and of every right, and above those at which hosts
        had it in their plans and have it no more. So a host that gets it back says anew how it is, even where it never
        heard of the plan between.

        Behind others it is also above those of rights that were lost: who is heard to be active at it has found just
        those to be over that are before it now, and not those that were before an earlier right of the same host.
        """
        lost = self.lost if self.rights else []
        return Epoch(max([bound, self.withdrawn, *(right.epoch for right in (*self.rights, *lost))]) + 1)

    @property
    def shares(self) -> list[tuple[frozenset[HostName], HostName]]:
        """To whom the router falls, should its host die, and just these standbys with it."""
        hosts = [right.tenure.host for right in self.rights]
        return [(frozenset(hosts[:rank]), host) for rank, host in enumerate(hosts)]

    @property
    def in_question(self) -> list[Right]:
        """Those that were taken away, and whose hosts have not acknowledged that."""
        return [right for right in self.rights if right.state is RightState.TAKING]

    def word_of(self, host: HostName | None, epoch: Epoch) -> RouterState:
        """What the host says of the router at this epoch; REMOVED if it said nothing."""
        said = None if host is None else self.said.get(host)
        return said.state if said is not None and said.epoch == epoch else RouterState.REMOVED
