"""A beat's side as an arbiter: what comes in as a question goes out as an answer, at once or when all has been read.

What is promised to whom is `edge.arbiter`'s decision; here is when. A question about somebody whose grant seems to be
over waits until everything that has arrived is read, since a renewal may be among it. The beat *listens* meanwhile: its
shell reads the socket until that is empty and says `Emptied`; then hints go out, and what waited is answered (`judge`).

The rule: renewals never wait, and are judged as they come. What waits is answered as of when it is answered.

The invariant: nobody is called silent or buried by an end that has passed while something unread is from before it.
"""

from math import inf

from gapless.core.edge.arbiter import Arbiter
from gapless.core.edge.beatevents import BurialAnswered, BurialAsked, Counters
from gapless.core.edge.outgoing import Outgoing
from gapless.model.host import Incarnation
from gapless.model.lease import Datagram, DatagramKind, Tenure


class Answering:
    """Of one beat: asks its arbiter, and says what that decides."""

    def __init__(self, arbiter: Arbiter, out: Outgoing, counters: Counters) -> None:
        self.is_listening = False
        """What is in the socket decides something."""
        self._arbiter = arbiter
        self._out = out
        self._counters = counters
        self._undecided: list[Datagram | BurialAsked] = []
        """Questions that wait for that."""
        self._belated: set[Tenure] = set()
        """Whose belated renewals were refused in this interval."""

    def next_deadline(self) -> float:
        """When to look whether somebody's grant is over; inf while it listens: `judge` does that."""
        return inf if self.is_listening else self._arbiter.next_deadline()

    def on_deadline(self, now: float) -> None:
        """Listen, if it is time."""
        if now >= self._arbiter.next_deadline():
            self.is_listening = True

    def begin_interval(self) -> None:
        """Whoever was refused may be refused again."""
        self._belated.clear()

    def judge(self, heard: float, now: float) -> None:
        """Everything that had arrived at `heard` was read: whoever has not been heard by then is silent."""
        self._arbiter.listened(heard)
        self.is_listening = False
        for to, subject, silent_s in self._arbiter.hint():
            self._out.send(to, self._out.datagram(DatagramKind.SILENT, subject, silent_for_s=silent_s))
        undecided, self._undecided = self._undecided, []
        for question in undecided:
            if isinstance(question, BurialAsked):
                self.answer_controller(question, now)
            else:
                self.answer(question, now)

    def answer(self, datagram: Datagram, now: float) -> None:
        """A RENEW, a CLAIM or an ASK has come, maybe from this host itself."""
        sender, subject, seq = datagram.sender, datagram.subject, datagram.seq
        if datagram.kind is not DatagramKind.RENEW and self._must_listen(datagram, subject, now):
            return
        kind: DatagramKind | None
        if datagram.kind is DatagramKind.ASK:
            if (silent_s := self._arbiter.silence_of(subject, datagram.panel, now)) is not None:
                self._out.send(sender.host, self._out.datagram(DatagramKind.SILENT, subject, silent_for_s=silent_s))
            return
        if datagram.kind is DatagramKind.CLAIM:
            kind = self._arbiter.claim(subject, datagram.panel, now)
        elif (answer := self._arbiter.renew(sender, seq, datagram.panel, now)) is not None:
            kind, subject = answer[0], Tenure(sender.host, answer[1])
        else:
            kind = None
        if kind is not None:
            self._out.send(sender.host, self._out.datagram(kind, subject, seq=seq, asker=sender.incarnation))

    def answer_controller(self, event: BurialAsked, now: float) -> None:
        """The controller claims a tenure, over the control link."""
        if self._must_listen(event, event.tenure, now):
            return
        kind = self._arbiter.claim(event.tenure, event.panel, now)
        if kind in (DatagramKind.BURIED, DatagramKind.ALIVE):
            is_buried = kind is DatagramKind.BURIED
            self._out.tell(BurialAnswered(tenure=event.tenure, seq=event.seq, is_buried=is_buried))

    def refuse(self, sender: Tenure, highest: Incarnation) -> None:
        """A host's machine was heard at a higher incarnation. Its disk was restored from an old copy, and it has to
        rise above that; or somebody replays what it sent long ago, and it does not heed an answer to an incarnation
        that is not its own. Once an interval, as it would be granted.
        """
        if sender not in self._belated:
            self._belated.add(sender)
            self._counters.refusals += 1
            over = Tenure(sender.host, highest)
            self._out.send(sender.host, self._out.datagram(DatagramKind.REFUSE, over, asker=sender.incarnation))

    def _must_listen(self, question: Datagram | BurialAsked, subject: Tenure, now: float) -> bool:
        """Whether a question about somebody waits until everything that has arrived is read."""
        if not self._arbiter.is_undecided(subject, now):
            return False
        self._undecided.append(question)
        self.is_listening = True
        return True
