"""Decoding what peers say: anything that is no message is refused in few words."""

from ipaddress import IPv4Address

import pytest

from gapless.model.host import AgentState, HostFacts, HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion, Tenure
from gapless.model.plan import (
    Burial,
    Epoch,
    Forwarding,
    Guarded,
    LeaseAddress,
    PanelPlan,
    PlannedRouter,
    Revision,
    Role,
    Takeover,
    TakeoverTimes,
)
from gapless.model.router import Router, RouterId
from gapless.model.way import WayOut, WaysSaid
from gapless.wire import messages
from gapless.wire.messages import MALFORMED_CHARS_MAX, PROTOCOL, Malformed

BROKEN = {
    "nothing": b"",
    "no JSON": b"\x00",
    "no UTF-8": b'{"type": "\xff"}',
    "unknown type": b'{"type": "' + b"x" * 100_000 + b'"}',
    "bottomless": b"[" * 100_000,
    "no address": b'{"type":"snapshot","revision":1,"routers":[{"router":1}]}',
}


def test_with_the_facts_that_the_proof_of_the_key_is_over_the_version_grows() -> None:
    """Each end encodes them by itself, so one that knows other facts would take the other's key for a wrong one."""
    of_version_6 = {"name", "instance", "availability_zone", "capacity", "physical_networks", "data_address"}
    of_version_6 |= {"lease_address", "version", "tracked_most", "copies_flows"}
    assert (set(HostFacts.__dataclass_fields__), PROTOCOL) == (of_version_6, 6)


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("direction", ["from_controller", "from_host", "to_agent", "from_agent"])
def test_what_is_no_message_is_refused_in_few_words(direction: str, raw: bytes) -> None:
    with pytest.raises(Malformed) as refusal:
        getattr(messages, direction).decode(raw)
    assert 0 < len(str(refusal.value)) <= MALFORMED_CHARS_MAX


A, R = Tenure(HostName("a"), Incarnation(3)), RouterId("r")


def test_what_standbys_need_arrives_as_it_was_sent() -> None:
    panel = Panel(
        version=PanelVersion(2), floor=PanelVersion(1), sets=(frozenset({A.host}), frozenset({HostName("b"), A.host}))
    )
    guarded = Guarded(role=Role.STANDBY, incarnation=Incarnation(7), after=(A,))
    planned = PlannedRouter(router=Router(id=R, name="r"), epoch=Epoch(5), guarded=guarded)
    addresses = (LeaseAddress(host=A.host, address="192.0.2.1:9698"),)
    for sent in (
        messages.Snapshot(
            revision=Revision(1),
            routers=(planned,),
            heard=4,
            panel=PanelPlan(timing=DEFAULT, panel=panel, addresses=addresses),
        ),
        messages.Bury(tenure=A, seq=9, panel=panel.version),
    ):
        assert messages.from_controller.decode(messages.encode(sent)) == sent
    report = messages.Report(
        revision=Revision(1),
        agent=AgentState.RUNNING,
        leased=Incarnation(7),
        guard_revision=Revision(1),
        forwarding=(Forwarding(router_id=R, epoch=Epoch(5)),),
        takeovers=(
            Takeover(router_id=R, epoch=Epoch(5), of=A, times=TakeoverTimes(buried_ms=2.5, opened_ms=3.5, told_ms=9.5)),
        ),
        buried=(Burial(tenure=A, seq=9, is_buried=True),),
    )
    assert messages.from_host.decode(messages.encode(report)) == report


def test_when_a_host_was_granted_last_arrives_as_it_was_sent_and_an_older_host_says_nothing_of_it() -> None:
    times = TakeoverTimes(granted_ms=-50.0, buried_ms=2.5, opened_ms=3.5, told_ms=9.5)
    took = Takeover(router_id=R, epoch=Epoch(5), of=A, times=times)
    raw = messages.encode(messages.Report(revision=Revision(1), agent=AgentState.RUNNING, takeovers=(took,)))
    for said, granted_ms in (
        (raw, -50.0),
        (raw.replace(b'"granted_ms":-50.0,', b""), None),
        (raw.replace(b'"granted_ms"', b'"what a newer host may say"'), None),
    ):
        heard = messages.from_host.decode(said)
        assert isinstance(heard, messages.Report)
        (told,) = heard.takeovers
        assert (told.times.granted_ms, told.times.opened_ms) == (granted_ms, 3.5)


def test_ways_out_arrive_as_they_were_sent_and_an_older_host_says_nothing_of_them() -> None:
    ways = WaysSaid(lost=(WayOut("external"), WayOut("external", IPv4Address("203.0.113.1"))))
    sent = messages.Report(revision=Revision(1), agent=AgentState.RUNNING, ways=ways)
    assert messages.from_host.decode(messages.encode(sent)) == sent
    older = messages.from_host.decode(b'{"type":"report","revision":1,"agent":"running","uplink_trouble":"no carrier"}')
    assert isinstance(older, messages.Report)
    assert older.ways is None


def test_who_has_expired_arrives_as_it_was_sent_and_an_older_host_says_nothing_of_it() -> None:
    sent = messages.Report(revision=Revision(1), agent=AgentState.RUNNING, expired=(A,))
    assert messages.from_host.decode(messages.encode(sent)) == sent
    older = messages.from_host.decode(b'{"type":"report","revision":1,"agent":"running"}')
    assert isinstance(older, messages.Report)
    assert older.expired == ()
