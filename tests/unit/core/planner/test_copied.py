"""Whether standbys have all connections of their routers, as they say it and people see it. What waits for that is in
`test_copies.py`."""

from standby_rig import StandbyRig

from gapless.core.events import HostDisconnected
from gapless.model.host import HostName
from gapless.model.router import RouterId

R1, R2 = RouterId("r1"), RouterId("r2")


def copied(rig: StandbyRig, router_id: RouterId = R1, standby: str = "h2") -> bool | None:
    view = rig.planner.router_view(router_id)
    assert view is not None
    (said,) = view.standbys
    assert (said.host, said.state) == (standby, "ready")
    return said.copied


def rig_of_two() -> StandbyRig:
    """A router on h1 and one on h2; each host stands by for the other one's, and has it built."""
    rig = StandbyRig("h1", "h2")
    rig.protect(R1, R2)
    rig.settle("h1", "h2")
    return rig


def test_what_a_standby_says_is_shown_until_it_says_otherwise() -> None:
    rig = rig_of_two()
    assert copied(rig) is None, "it is of an older release, or copies nothing"
    rig.guard("h2", copied={R1: False, R2: True})
    assert (copied(rig), copied(rig, R2, "h1")) == (False, None), "h2 is no standby of what it has"
    rig.guard("h2", copied={R1: True})
    rig.guard("h2")
    assert copied(rig) is True, "only what changed is said"
    rig.guard("h2", copied={R1: None})
    assert copied(rig) is None


def test_it_is_not_known_of_a_host_that_is_not_heard_nor_from_an_earlier_connection() -> None:
    rig = rig_of_two()
    rig.guard("h2", copied={R1: True})
    rig.handle(HostDisconnected(id="closed", host=HostName("h2")))
    assert copied(rig) is None
    rig.join("h2", rig.incarnations["h2"])
    rig.settle("h1", "h2")
    assert copied(rig) is None
    rig.guard("h2", copied={R1: False})
    assert copied(rig) is False
