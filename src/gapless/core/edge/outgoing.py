"""What a turn of a beat comes to, in its order: datagrams, whatever else it asks for, and news.

The rule: a datagram is said in the name of the host's present incarnation, and by the panel that it follows. What a
host says to itself, as holder, successor and arbiter in one, takes no network: it waits here and is heard before the
turn is over, as if it had come from another host.

The invariant: no `Send` is to the host itself, and nothing is said before there is a panel to say it by.
"""

from collections import deque

from gapless.core.edge.beatevents import BeatEffect, News, Send, Tell
from gapless.core.edge.incarnations import Incarnations
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import NOBODY, Datagram, DatagramKind, LeaseTiming, PanelVersion, Tenure


class Outgoing:
    """Of one beat, turn after turn."""

    def __init__(self, incarnations: Incarnations, timing: LeaseTiming) -> None:
        """`incarnations`: in whose name it is said."""
        self.panel: PanelVersion | None = None
        """By which panel it is said; None: there is none yet."""
        self.effects: list[BeatEffect] = []
        """What the present turn came to so far."""
        self._incarnations = incarnations
        self._lease_s = timing.lease_s
        self._to_itself: deque[Datagram] = deque()

    def begin(self) -> None:
        """A turn begins."""
        self.effects = []

    def ask(self, effect: BeatEffect) -> None:
        """Something is to be carried out, after all that was asked for before."""
        self.effects.append(effect)

    def tell(self, news: News) -> None:
        """Something is for the log and the controller."""
        self.effects.append(Tell(news=news))

    def send(self, to: HostName, datagram: Datagram) -> None:
        """Say something to a host, maybe to itself."""
        if to == self._incarnations.me.host:
            self._to_itself.append(datagram)
        else:
            self.effects.append(Send(to=to, datagram=datagram))

    def next_to_itself(self) -> Datagram | None:
        """What the host has said to itself and not heard yet, one by one; None: nothing any more."""
        return self._to_itself.popleft() if self._to_itself else None

    def datagram(
        self,
        kind: DatagramKind,
        subject: Tenure,
        *,
        seq: int = 0,
        asker: Incarnation = NOBODY,
        silent_for_s: float = 0.0,
    ) -> Datagram:
        """What is to be said, once or to several."""
        assert self.panel is not None
        return Datagram(
            kind=kind,
            sender=self._incarnations.me,
            panel=self.panel,
            lease_s=self._lease_s,
            subject=subject,
            seq=seq,
            asker=asker,
            silent_for_s=silent_for_s,
        )
