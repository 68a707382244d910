"""What the sentinel keeps of what its beat says."""

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Burial, Epoch, Forwarding, Takeover, TakeoverTimes
from gapless.model.router import RouterId
from gapless.sentinel.hearing import Hearing
from gapless.wire import beat as wire
from sizes import sizes


class Listener:
    """Has nothing to do with what it is told."""

    def guard_changed(self) -> None:
        pass

    def buried(self, burial: Burial) -> None:
        raise AssertionError("nobody asked")


def test_of_takeovers_of_routers_that_are_closed_nothing_is_kept() -> None:
    hearing = Hearing(Listener(), lambda: None, lambda _: {})
    of = Tenure(HostName("net9"), Incarnation(4))

    def hear(message: wire.Opened | wire.TookOver | wire.Closed) -> None:
        hearing.take_in(message, lease_s=0.2)

    def take_over(number: int, name: str) -> None:
        router_id, epoch = RouterId(name), Epoch(2)
        times = TakeoverTimes(buried_ms=200, opened_ms=201, told_ms=210)
        hear(wire.Opened(routers=(Forwarding(router_id=router_id, epoch=epoch),)))
        takeover = Takeover(router_id=router_id, epoch=epoch, of=of, times=times)
        hear(wire.TookOver(number=number, at=1.0, takeovers=(takeover,)))

    take_over(1, "stays")
    counts = []
    for number in range(2, 20):
        take_over(number, f"r{number}")
        hear(wire.Closed(routers=(RouterId(f"r{number}"),)))
        counts.append(sizes(hearing.levels))
    assert counts == [counts[0]] * len(counts)
    assert hearing.levels.takeovers.keys() == {"stays", "r19"}
    assert hearing.figures.taken_over == 19
