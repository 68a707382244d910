"""A beat on a clock moved by hand, and the arbiters' answers at hand."""

from dataclasses import replace

from gapless.core.edge.beat import Beat
from gapless.core.edge.beatevents import (
    BeatEffect,
    BeatEvent,
    ClockJudged,
    Emptied,
    GuardPlan,
    News,
    Planned,
    Received,
    Right,
    Send,
    Tell,
    Withdrawn,
)
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, Datagram, DatagramKind, Panel, PanelVersion, Tenure
from gapless.model.plan import Epoch, Revision
from gapless.model.router import RouterId

ME, A, B, C = (HostName(name) for name in ("me", "a", "b", "c"))
PANEL = Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(frozenset({A, B, C}),))
DEAD = Tenure(HostName("dead"), Incarnation(4))
R1, R2 = RouterId("r1"), RouterId("r2")
L = DEFAULT.lease_s
WRONG, RIGHT = ClockJudged(fault="the clock is slewed by +8.3 %"), ClockJudged(fault="")


class Rig:
    """A beat with a clock, and the arbiters' answers at hand."""

    def __init__(self, *, panel: Panel | None = PANEL, me: HostName = ME) -> None:
        self.now = 100.0
        self.beat = Beat(me, Incarnation(1), DEFAULT, now=self.now, panel=panel)
        self.me = Tenure(me, Incarnation(1))

    def do(self, event: BeatEvent) -> list[BeatEffect]:
        effects = self.beat.handle(event, self.now)
        self.beat.check()
        return effects

    def tick(self, after_s: float = 0.0) -> list[BeatEffect]:
        self.now += after_s
        effects = self.beat.on_deadline(self.now)
        return effects + self.listen()

    def listen(self) -> list[BeatEffect]:
        """The socket is empty."""
        return self.do(Emptied(at=self.now)) if self.beat.is_listening else []

    def say(self, kind: DatagramKind, sender: HostName, subject: Tenure, **fields: object) -> list[BeatEffect]:
        plain = Datagram(
            kind=kind,
            sender=Tenure(sender, Incarnation(1)),
            panel=PANEL.version,
            lease_s=L,
            subject=subject,
            asker=self.me.incarnation,
        )
        return self.do(Received(datagram=replace(plain, **fields)))  # type: ignore[arg-type]

    def renew(self) -> int:
        """The question that goes out now."""
        effects = self.tick(DEFAULT.interval_s)
        return next(each.datagram.seq for each in effects if isinstance(each, Send))

    def hold(self) -> list[BeatEffect]:
        """From the start to the lease."""
        self.tick()
        self.do(Withdrawn())
        seq = self.renew()
        self.say(DatagramKind.GRANT, A, self.me, seq=seq)
        return self.say(DatagramKind.GRANT, B, self.me, seq=seq)

    def stay(self, seconds: float) -> None:
        """Time passes, and everybody grants."""
        end = self.now + seconds
        while self.now < end:
            seq = self.renew()
            for arbiter in (A, B, C):
                self.say(DatagramKind.GRANT, arbiter, self.me, seq=seq)

    def plan(self, **fields: object) -> list[BeatEffect]:
        plain = GuardPlan(
            revision=Revision(1), incarnation=self.me.incarnation, heard=0, panel=None, active={}, rights={}
        )
        return self.do(Planned(plan=replace(plain, **fields)))  # type: ignore[arg-type]

    def take_over(self) -> list[BeatEffect]:
        """DEAD is silent, and buried."""
        self.say(DatagramKind.SILENT, A, DEAD)
        claims = [each for each in self.say(DatagramKind.SILENT, B, DEAD) if isinstance(each, Send)]
        assert {each.to for each in claims} == {A, B, C}
        seq = claims[0].datagram.seq
        self.say(DatagramKind.BURIED, A, DEAD, seq=seq)
        return self.say(DatagramKind.BURIED, C, DEAD, seq=seq)


def news(effects: list[BeatEffect]) -> list[News]:
    return [each.news for each in effects if isinstance(each, Tell)]


def right(epoch: int) -> Right:
    return Right(epoch=Epoch(epoch), after=(DEAD,))
