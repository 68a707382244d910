"""The granting side: what one arbiter promises to holders, and to those who claim them.

Theory: Gray and Cheriton (1989). Two promises, both kept in memory only: a grant (its holder is not buried here while
the grant lasts) and a burial (the tenure is granted nothing here any more). Neither needs a disk: after a restart an
arbiter says nothing for `quiet_s`. By then every grant of before is over, and every claim that counts an answer of
before has been decided (`LeaseTiming.window_s`). Burials need no ballots, since they are monotone.

The rule: a tenure is granted unless it is below the lowest incarnation of its host that may be; burying raises that,
and so does hearing a higher one, which says itself that those below it are over. Another machine under the same name
(`model.host.machine_of`) says nothing of the one before, so it is granted nothing until that one's grant has expired.
A claim is denied only by an unexpired grant to that incarnation or a lower one.

The invariant: `lowest` never falls, and no grant is unexpired to a tenure that is buried here.

A grant is over when its end has passed *and* everything that arrived before that end was read (`listened`). An arbiter
that was held up finds renewals waiting, and would bury hosts that are well. Burying later than allowed is always safe.

SILENT is a hint, for speed: whoever it reaches claims, and only what is answered to a claim counts. It is sent to every
holder of an unexpired grant, at once, after an interval, then each time as much later again, and given up at last. The
controller is told of the same as a level, for as long as it is so (`expired`): there may be no successor left. When a
host is heard at a higher incarnation, SILENT of the one before begins anew: who took over from that hears that the host
is back.
"""

from dataclasses import dataclass
from math import inf

from gapless.core.edge.beatevents import Counters
from gapless.errors import InvariantError
from gapless.model.host import HostName, Incarnation, machine_of
from gapless.model.lease import DatagramKind, LeaseTiming, PanelVersion, Tenure

SELDOM_INTERVALS = 20
"""No more than so much lies between two hints."""
HINTS_FOR_S = 600.0
"""After this time a successor needs the controller to claim for it."""
EXPIRED_S = 1.0
"""How long a grant has been over when the controller is told: successors claim within a fraction of that."""
EXPIRED_MOST = 200
"""So many it is told of. Names of hosts that are gone for good are among them until this arbiter restarts."""


def until_next_hint(silent_s: float, interval_s: float) -> float:
    """How long after a hint that says `silent_s` the next one comes."""
    return min(max(silent_s, interval_s), SELDOM_INTERVALS * interval_s)


@dataclass(slots=True)
class _Grant:
    incarnation: Incarnation
    seq: int
    until: float


@dataclass(slots=True)
class _Hints:
    incarnation: Incarnation
    """This one is over, and those below."""
    since: float
    next_at: float


class Arbiter:
    """One arbiter, in one life of its sentinel. `floor` is the lowest panel version that it serves; None: none yet."""

    def __init__(self, timing: LeaseTiming, now: float, counters: Counters) -> None:
        self.floor: PanelVersion | None = None
        self._timing = timing
        self._arbiter_s = timing.arbiter_s
        self._quiet_until = now + timing.quiet_s
        self._counters = counters
        self._lowest: dict[HostName, Incarnation] = {}
        """The lowest incarnation of each host that may still be granted something."""
        self._grants: dict[HostName, _Grant] = {}
        self._expiring: dict[HostName, float] = {}
        """The unexpired grants' ends, the next one first: each grant lasts as long as any other."""
        self._expired: dict[HostName, None] = {}
        """Whose last grant is over, in the order in which they ended."""
        self._hints: dict[HostName, _Hints] = {}
        self._listened = now
        """Everything that arrived before this was read."""

    def renew(
        self, holder: Tenure, seq: int, panel: PanelVersion, now: float
    ) -> tuple[DatagramKind, Incarnation] | None:
        """What to say to a renewal received at `now`, and of which incarnation; None: nothing."""
        if (deaf := self._hears_not(panel, now)) is not None:
            return (deaf, holder.incarnation) if deaf is DatagramKind.STALE else None
        host, incarnation = holder.host, holder.incarnation
        if incarnation < (lowest := self._lowest.get(host, 0)):
            self._counters.refusals += 1
            return DatagramKind.REFUSE, Incarnation(lowest - 1)
        grant = self._grants.get(host)
        if grant is not None and grant.until > now and machine_of(incarnation) > machine_of(grant.incarnation):
            self._counters.namesakes += 1
            return None
        if grant is None or incarnation > grant.incarnation:
            if grant is not None:
                self._hints[host] = _Hints(grant.incarnation, since=now, next_at=now)
            grant = self._grants[host] = _Grant(incarnation, seq, now)
            self._lowest[host] = incarnation
        elif seq <= grant.seq:
            self._counters.old_senders += 1
            return None
        elif (hints := self._hints.get(host)) and hints.incarnation == incarnation:
            del self._hints[host]
        grant.seq, grant.until = seq, now + self._arbiter_s
        self._expiring.pop(host, None)
        self._expired.pop(host, None)
        self._expiring[host] = grant.until
        return DatagramKind.GRANT, incarnation

    def claim(self, tenure: Tenure, panel: PanelVersion, now: float) -> DatagramKind | None:
        """What to say to a claim received at `now`: BURIED, ALIVE (also where it is undecided), STALE or nothing."""
        if (deaf := self._hears_not(panel, now)) is not None:
            return deaf if deaf is DatagramKind.STALE else None
        grant = self._grants.get(tenure.host)
        if grant is not None and grant.incarnation <= tenure.incarnation and grant.until > self._listened:
            self._counters.denials += 1
            return DatagramKind.ALIVE
        self._lowest[tenure.host] = Incarnation(max(self._lowest.get(tenure.host, 0), tenure.incarnation + 1))
        return DatagramKind.BURIED

    def trust(self, now: float, *, is_true: bool) -> None:
        """Whether the clock can be trusted. As long as not, nothing is said; and after that nothing before all that was
        granted by it is over, as after a restart.
        """
        self._quiet_until = now + self._timing.quiet_s if is_true else inf

    def is_undecided(self, tenure: Tenure, now: float) -> bool:
        """Whether what waits unread may say that a grant to this tenure is not over: listen before answering."""
        grant = self._grants.get(tenure.host)
        return grant is not None and grant.incarnation <= tenure.incarnation and self._listened < grant.until <= now

    def listened(self, at: float) -> None:
        """Everything that had arrived at `at` was read."""
        self._listened = max(self._listened, at)

    def has_outlived(self, tenure: Tenure) -> bool:
        """Whether that machine asked at a higher incarnation, and so said itself that this one is over."""
        grant = self._grants.get(tenure.host)
        if grant is None or machine_of(grant.incarnation) != machine_of(tenure.incarnation):
            return False
        return grant.incarnation > tenure.incarnation

    def silence_of(self, tenure: Tenure, panel: PanelVersion, now: float) -> float | None:
        """For how many seconds nothing has been granted to a tenure, as a hint: an arbiter that has restarted since was
        told nothing that could expire. None: that is not so, or it says nothing.
        """
        if self._hears_not(panel, now) is not None:
            return None
        grant = self._grants.get(tenure.host)
        if grant is None or grant.incarnation > tenure.incarnation:
            return 0.0
        return None if grant.until > self._listened else now - grant.until

    def _hears_not(self, panel: PanelVersion, now: float) -> DatagramKind | None:
        """SILENT: it says nothing; STALE: it says that; None: it hears."""
        if self.floor is None or now < self._quiet_until:
            self._counters.quiet_drops += 1
            return DatagramKind.SILENT
        if panel < self.floor:
            self._counters.stale_panels += 1
            return DatagramKind.STALE
        return None

    def hint(self) -> list[tuple[HostName, Tenure, float]]:
        """What was due when it listened last: whom to tell SILENT, of which tenure, for how many seconds it is over."""
        now = self._listened
        while self._expiring:
            host, until = next(iter(self._expiring.items()))
            if until > now:
                break
            del self._expiring[host]
            self._expired[host] = None
            self._hints[host] = _Hints(self._grants[host].incarnation, since=until, next_at=now)
        due = [(host, hints) for host, hints in self._hints.items() if hints.next_at <= now]
        said = []
        for host, hints in due:
            silent_s = now - hints.since
            said += [(to, Tenure(host, hints.incarnation), silent_s) for to in self._expiring if to != host]
            hints.next_at = now + until_next_hint(silent_s, self._timing.interval_s)
            if silent_s > HINTS_FOR_S:
                del self._hints[host]
        return said

    def expired(self, now: float) -> tuple[Tenure, ...]:
        """What was granted here last to each host that has been granted nothing since, for a while; those that ended
        last. Nothing in the quiet time.
        """
        if not self._expired or self.floor is None or now < self._quiet_until:
            return ()
        ended = [(host, self._grants[host]) for host in self._expired]
        long_ago = [Tenure(host, grant.incarnation) for host, grant in ended if now - grant.until >= EXPIRED_S]
        return tuple(long_ago[-EXPIRED_MOST:])

    def next_deadline(self) -> float:
        """When `hint` has something to say, once it has listened then."""
        expiry = next(iter(self._expiring.values()), inf)
        return min(expiry, *(hints.next_at for hints in self._hints.values())) if self._hints else expiry

    def check(self, now: float) -> None:
        """Raise InvariantError if a grant is unexpired to a tenure that may not be granted anything."""
        for host, grant in self._grants.items():
            if grant.until > now and grant.incarnation < self._lowest.get(host, 0):
                raise InvariantError(f"{host}@{grant.incarnation} is buried and has an unexpired grant")
