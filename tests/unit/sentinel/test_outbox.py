"""What waits to be said to a beat is levels: what is newer takes the place of what is older."""

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import PanelVersion, Tenure
from gapless.model.router import RouterId
from gapless.sentinel.outbox import Outbox
from gapless.wire.beat import Built, BurialQuestion, NewIncarnation, Outlived

TENURES = [Tenure(host=HostName(name), incarnation=Incarnation(1)) for name in ("net1", "net2")]


def question(tenure: Tenure, seq: int) -> BurialQuestion:
    return BurialQuestion(tenure=tenure, seq=seq, panel=PanelVersion(1))


async def test_to_a_beat_that_does_not_read_only_the_newest_is_kept() -> None:
    outbox = Outbox()
    for number in range(1000):
        for tenure in TENURES:
            outbox.ask(question(tenure, number))
        outbox.built((RouterId("a"), RouterId("b")), {RouterId("b")})
        outbox.built((RouterId("a"), RouterId("b")))
        outbox.bear(Incarnation(number))
        outbox.outlive(Incarnation(number))
        assert len(outbox) == 6
    assert [await outbox.next() for _ in range(5)] == [
        Outlived(up_to=Incarnation(999)),
        NewIncarnation(incarnation=Incarnation(999)),
        *(question(tenure, 999) for tenure in TENURES),
        Built(routers=(RouterId("a"), RouterId("b")), given_more=(RouterId("b"),)),
    ]
    assert len(outbox) == 0
