"""The guard: a frame from or to a router's tap passes only while its router is active here and the lease is alive.

One nftables table of family bridge in the host's own namespace. Taps of guarded routers carry the device group GUARDED.
A frame that comes from such a tap or goes to one passes if

1. the tap's name is in the set `active`, and
2. the time is within the one range of the set `lease`.

Other frames are accepted by the first rule. The guard stands before the bridge learns where addresses are, with one
exception: LLDP (to 01:80:c2:00:00:0e) passes no hook. It goes no further than the host, and bridges that Gapless makes
learn nothing from it; an operator's own bridge may, if something in a router speaks LLDP.

The rule: **a lease in the kernel never outlasts the lease that it was made from**, whatever userspace does. The range
is of absolute wall-clock time, so one that was computed before a pause and arrives after it revives nothing. It also
has a timeout, so a wall clock that is set back prolongs nothing; one that is set forward ends it early. The wall clock
is read before the beat's, so a pause in between shortens it.

The second rule: a guard that somebody tampered with is noticed by the next transaction, because each is made for one
generation of the ruleset, and that is never one that the ruleset may not have reached: what may have changed nothing is
not counted, as the kernel does not count it if so. A generation that is too low costs a look; with one that is too
high, the next transaction of others would go unnoticed. Where the kernel can (6.9), the table is owned by one socket,
and through no other it can be changed. The sentinel keeps that socket open and each beat inherits it, so the guard is
owned while either of them lives; with the last of them the kernel forgets who owned it. Invariant: `install` begins
with everything withdrawn.

Not thread-safe. No call waits for anything but the kernel's nftables of this namespace; none takes RTNL.
"""

import errno
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from gapless.errors import Conflict, InvalidRequest, Unavailable
from gapless.kernel.netlink import NETFILTER, Netlink
from gapless.kernel.ownership import Owner, collision, owner
from gapless.kernel.transactions import Message, Refusal, Transactions, following
from gapless.model.observed import GUARD_MARKS, GUARD_TABLE, GUARDED_GROUP, GUARDED_GROUPS_MASK
from gapless.sentinel.beat import clock, nftables
from gapless.sentinel.beat.nftables import Chain, Shape

TABLE: Final = GUARD_TABLE
_ACTIVE, _LEASE = "active", "lease"
_ACTIVE_ID, _LEASE_ID = 1, 2
_MOST_ACTIVE = 32768
"""Names that may be active: room for a hash table of fixed size, which costs least per frame and per name."""
_NAME_BYTES = 16
_OF_MEMORY = frozenset({errno.ENOMEM, errno.ENOBUFS})
"""Refusals that say nothing of the guard: nobody has to read all of it then, at each try, when memory is short."""
_ATTEMPTS = 3
"""A transaction of others on this machine came in between as often: then the beat has other things to do first."""
_TOO_FAST = "others change the nftables ruleset faster than it can be done"
_SHORTEST_S = 0.001
"""Shorter leases are over: the kernel counts timeouts in milliseconds."""
_FIRST, _LAST = -400, 400
"""Priorities: before and after whatever else looks at frames."""
_CLEAR_LEASE: Final = nftables.clear_set(TABLE, _LEASE)
_CLEAR_ACTIVE: Final = nftables.clear_set(TABLE, _ACTIVE)
_MAY_CHANGE_NOTHING: Final = frozenset({_CLEAR_LEASE, _CLEAR_ACTIVE})
"""Clearings: the set may be empty. Everything else puts in or takes out what was not there, or was, by then."""
_IFNAME_NOTE = bytes.fromhex("000401000000")
_TIME_NOTE = bytes.fromhex("000401000000030e000409000000010600041e000000")
"""nft's own: how a set's key is shown (`typeof meta time`)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A lease as the kernel keeps it: from and until, in wall-clock nanoseconds, and a timeout from its arrival."""

    start_ns: int
    end_ns: int
    timeout_ms: int


def span(until_s: float, wall_ns: int, now_s: float) -> Span | None:
    """A lease that ends at `until_s` (the beat's clock), with `wall_ns` read before `now_s`; None: it is over.

    The timeout is rounded down: it may end the lease some milliseconds early, and never late.
    """
    left_s = until_s - now_s
    if left_s < _SHORTEST_S:
        return None
    return Span(wall_ns, wall_ns + math.floor(left_s * 1e9), math.floor(left_s * 1e3))


class Guard:
    """The guard of the namespace in which it is made.

    Every call raises Unavailable with the kernel's reason when it did nothing, and Conflict where somebody else changed
    or removed the guard, or where the kernel's answer was lost: then frames may pass that must not, until `install` or
    `restore`. From these two Unavailable may also mean that the answer was lost: then the guard may have been replaced,
    and nothing else is done until one of them succeeds.
    """

    def __init__(
        self,
        descriptor: int | None = None,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        now_s: Callable[[], float] = clock.now,
    ) -> None:
        """`descriptor`: of the socket that owns the guard, or is to; None: one of its own."""
        self._wall_ns = wall_ns
        self._now_s = now_s
        self._transactions = Transactions(descriptor)
        self._reading = Netlink(NETFILTER)
        self._active: set[str] = set()
        self._until_s = -math.inf
        self._generation = 0
        self._shape: Shape | None = None
        self._is_owned = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def active(self) -> frozenset[str]:
        """Names of the taps that pass frames while the lease is alive, as far as the kernel has answered."""
        return frozenset(self._active)

    @property
    def until_s(self) -> float:
        """When the lease ends in the kernel, by the beat's clock, or later than it does where it could not be told."""
        return self._until_s

    @property
    def is_owned(self) -> bool:
        """Whether the kernel keeps everybody else from changing the guard."""
        return self._is_owned and self._shape is not None

    @property
    def is_exclusive(self) -> bool:
        """Whether nobody else can change the guard: it stands, also where a later transaction failed."""
        return self._is_owned

    def install(self) -> None:
        """Make the guard, in place of whatever an earlier process left, in one transaction: nothing is active.

        A table of the guard's name that somebody else made stays, and there is no guard: Unavailable.
        """
        self._active.clear()
        self._until_s = -math.inf
        for _ in range(_ATTEMPTS):
            generation = self._transactions.generation()  # before it is looked whose the table is: nobody comes between
            if owner(self._reading, TABLE, GUARD_MARKS) is Owner.SOMEBODY_ELSE:
                raise Unavailable(collision(TABLE))
            with suppress(Conflict):
                self._make(generation, is_expected=True)
                return
        raise Unavailable(f"make the guard: {_TOO_FAST}")

    def restore(self) -> None:
        """Put the guard back as it should be, in one transaction: with what is active, and the lease if it lasts.

        A table that has its name by now goes, whoever made it: the name was the guard's, frames pass that must not, and
        no host could succeed this one as long as it waited for an operator. So it does not matter either what others do
        meanwhile to any table: they can hold up renewals, and not this.
        """
        self._make(self._transactions.generation(), is_expected=False)

    def extend(self, until_s: float) -> None:
        """Let the lease end at `until_s`, by the beat's clock. It may be earlier than before; past: it ends now."""
        self._until_s = until_s
        # The span is computed anew where the transaction has to be repeated.
        self._commit(self._lease_messages, "renew the lease in the kernel")

    def activate(self, names: Iterable[str]) -> None:
        """Let these taps pass frames, whether they exist yet or not, at once and together."""
        wanted = set(names) - self._active
        if len(wanted) + len(self._active) > _MOST_ACTIVE:
            raise InvalidRequest(f"more than {_MOST_ACTIVE} router ports cannot be active on one host")
        added = nftables.add_elements(TABLE, _ACTIVE, _elements(wanted))
        if added:
            self._commit(lambda: added, f"activate {len(wanted)} router ports")
        self._active |= wanted

    def deactivate(self, names: Iterable[str]) -> None:
        """Let these taps pass no frames any more, at once and together."""
        unwanted = set(names) & self._active
        removed = nftables.remove_elements(TABLE, _ACTIVE, _elements(unwanted))
        if removed:
            self._commit(lambda: removed, f"deactivate {len(unwanted)} router ports")
        self._active -= unwanted

    def withdraw(self) -> None:
        """Let nothing pass, and make nothing active. The lease goes first: that takes no longer for a thousand."""
        self._until_s = -math.inf
        self._commit(self._lease_messages, "end the lease in the kernel")
        self._commit(lambda: [_CLEAR_ACTIVE], "withdraw what is active")
        self._active.clear()

    def check(self) -> None:
        """Raise Conflict unless the guard is as it was made, with the active set as it was set. For now and then."""
        found = nftables.shape(self._reading, TABLE)
        if found is None:
            raise Conflict(f"the guard (nftables table bridge {TABLE}) was removed by somebody else")
        if found != self._shape:
            raise Conflict(f"the guard (nftables table bridge {TABLE}) was changed by somebody else")
        if nftables.keys(self._reading, TABLE, _ACTIVE) != {_key(name) for name in self._active}:
            raise Conflict("the guard's set of active router ports was changed by somebody else")

    def muted_frames(self) -> int:
        """Frames dropped since the guard was made."""
        return nftables.counted(self._reading, TABLE)

    def close(self) -> None:
        """Let go. The guard stays, and closes when the lease that it holds is over."""
        self._transactions.close()
        self._reading.close()

    def _make(self, generation: int, *, is_expected: bool) -> None:
        """All of it, known by what the kernel tells of it: what is read later may be others' already.

        `generation`: read before. If others came in between, the ruleset is beyond the next one by now, and the next
        transaction sees that. `is_expected`: then nothing is made. Raises Conflict.
        """
        self._shape = None
        about, expected = f"make the guard (nftables table bridge {TABLE})", generation if is_expected else None
        try:
            told = self._transactions.commit(self._table_messages(), expected, about)
        except Refusal as error:
            if error.number != errno.EOPNOTSUPP or not self._is_owned:
                raise
            self._is_owned = False
            told = self._transactions.commit(self._table_messages(), expected, about)
        self._generation, self._shape = following(generation), nftables.made(told)

    def _table_messages(self) -> list[Message]:
        flags = nftables.OWNER | nftables.PERSIST if self._is_owned else 0
        messages = [
            nftables.new_table(TABLE, None),
            nftables.delete_table(TABLE),
            nftables.new_table(TABLE, flags),
            nftables.new_set(
                TABLE,
                _ACTIVE,
                identity=_ACTIVE_ID,
                key_type=GUARD_MARKS[_ACTIVE],
                key_bytes=_NAME_BYTES,
                flags=0,
                size=_MOST_ACTIVE,
                note=_IFNAME_NOTE,
            ),
            nftables.new_set(
                TABLE,
                _LEASE,
                identity=_LEASE_ID,
                key_type=GUARD_MARKS[_LEASE],
                key_bytes=8,
                flags=nftables.INTERVAL | nftables.TIMEOUT,
                size=0,
                note=_TIME_NOTE,
            ),
        ]
        for chain in _chains():
            messages += nftables.new_chain(TABLE, chain)
        messages += nftables.add_elements(TABLE, _ACTIVE, _elements(self._active))
        return messages + self._lease_messages()

    def _lease_messages(self) -> list[Message]:
        wall_ns = self._wall_ns()
        held = span(self._until_s, wall_ns, self._now_s())
        return [_CLEAR_LEASE, *(lease_element(held) if held is not None else ())]

    def _commit(self, messages: Callable[[], list[Message]], about: str) -> None:
        """Carry out; where the ruleset has changed otherwise, see first whether the guard is still what it was."""
        if self._shape is None:
            raise Unavailable(f"{about}: the guard was not made yet")
        for _ in range(_ATTEMPTS):
            try:
                asked = messages()
                self._transactions.commit(asked, self._generation, about)
                if not _MAY_CHANGE_NOTHING.issuperset(asked):
                    self._generation = following(self._generation)
                return
            except Conflict:
                self._generation = self._generation_now(about)
            except Refusal as error:
                self._look_after(error, about)
                raise
            except Unavailable as error:
                raise Conflict(f"{about}: nobody knows whether that was done ({error})") from error
        raise Unavailable(f"{about}: {_TOO_FAST}")

    def _look_after(self, refusal: Refusal, about: str) -> None:
        """Raise Conflict where the guard may not be what it was. It is not read where memory is short and the guard is
        known to be what it was: a kernel without memory for the one may have none for the other. (That is known of one
        that nobody else may change, and of one whose generation was found to be the expected one. Other refusals say
        that something is not what it was taken for.)
        """
        if self._is_owned:
            if refusal.number not in _OF_MEMORY:
                with suppress(Unavailable):
                    self.check()
        elif refusal.number not in _OF_MEMORY or not refusal.is_at_generation:
            self._generation_now(about)

    def _generation_now(self, about: str) -> int:
        """The ruleset's generation, where the guard is what it was. Raises Conflict where it is not or nobody knows."""
        try:
            generation = self._transactions.generation()
            if not self._is_owned:
                self.check()
        except Unavailable as error:
            if self._is_owned:
                raise
            raise Conflict(f"{about}: nobody knows whether the guard is what it was ({error})") from error
        return generation


def lease_element(held: Span) -> list[Message]:
    """The message that puts a lease into its set, which must be empty by then."""
    start, end = held.start_ns.to_bytes(8, "big"), held.end_ns.to_bytes(8, "big")
    return nftables.add_elements(TABLE, _LEASE, [nftables.range_element(start, end, held.timeout_ms)])


def _key(name: str) -> bytes:
    """As the kernel keeps an interface's name: zero-terminated in 16 bytes."""
    if not 0 < len(name.encode()) < _NAME_BYTES:
        raise InvalidRequest(f"'{name}' is no interface's name")
    return name.encode().ljust(_NAME_BYTES, b"\0")


def _elements(names: Iterable[str]) -> list[bytes]:
    return nftables.elements([_key(name) for name in sorted(names)])


def _chains() -> list[Chain]:
    """Where frames meet the guard.

    `delivered` is for those that a bridge takes for itself and that pass no other hook: link-local multicasts, whose
    senders a bridge learns that was not made otherwise (`no_linklocal_learn`). `sent` is for what the bridge itself
    makes for one port. Everything else comes by the first two, floods and frames to and from the bridge device
    included; but for LLDP, which meets none.
    """
    arriving, leaving = (nftables.IIFGROUP, nftables.IIFNAME), (nftables.OIFGROUP, nftables.OIFNAME)
    return [
        Chain(name="arriving", hook=nftables.PREROUTING, priority=_FIRST, rules=_rules(*arriving)),
        Chain(name="leaving", hook=nftables.POSTROUTING, priority=_LAST, rules=_rules(*leaving)),
        Chain(name="delivered", hook=nftables.INPUT, priority=_FIRST, rules=_rules(*arriving)),
        Chain(name="sent", hook=nftables.OUTPUT, priority=_LAST, rules=_rules(*leaving)),
    ]


def _rules(group: int, name: int) -> tuple[tuple[bytes, ...], ...]:
    return (
        (
            nftables.load(group),
            nftables.mask(GUARDED_GROUPS_MASK),
            nftables.differs(GUARDED_GROUP & GUARDED_GROUPS_MASK),
            nftables.accept(),
        ),
        (
            nftables.load(name),
            nftables.is_in(_ACTIVE, _ACTIVE_ID),
            nftables.load(nftables.TIME),
            nftables.ordered(),
            nftables.is_in(_LEASE, _LEASE_ID),
            nftables.accept(),
        ),
        (nftables.count(), nftables.drop()),
    )
