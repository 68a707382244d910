"""What a beat says of the host's ways out, and as an arbiter, is kept as long as that beat lives."""

from collections.abc import Iterable, Mapping

from gapless.model.host import HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import Burial
from gapless.model.router import RouterId
from gapless.model.way import WayOut, WaysSaid
from gapless.sentinel.firstpacket import Count
from gapless.sentinel.hearing import Hearing
from gapless.wire import beat as wire


class Listener:
    def guard_changed(self) -> None:
        pass

    def buried(self, burial: Burial) -> None:
        raise AssertionError(burial)


def no_packets(routers: Iterable[RouterId]) -> Mapping[RouterId, Count]:
    raise AssertionError(routers)


def test_what_a_beat_said_of_its_ways_is_over_with_it() -> None:
    """The next one has not looked yet: what is not known is not said to be there."""
    hearing = Hearing(Listener(), lambda: None, no_packets)
    assert hearing.levels.ways is None
    ways = WaysSaid(lost=(WayOut("external"),))
    hearing.take_in(wire.Level(tenure=Incarnation(1), settled=0, panel=None, ways=ways), 1.0)
    assert hearing.levels.ways == ways
    hearing.begin_anew()
    assert hearing.levels.ways is None


def test_so_is_who_has_expired() -> None:
    hearing = Hearing(Listener(), lambda: None, no_packets)
    over = (Tenure(HostName("h1"), Incarnation(3)),)
    hearing.take_in(wire.Level(tenure=Incarnation(1), settled=0, panel=None, expired=over), 1.0)
    assert hearing.levels.expired == over
    hearing.begin_anew()
    assert hearing.levels.expired == ()
