"""r1 active on h1, and several standbys by rank: what tests of them begin with, and look at."""

from standby_rig import StandbyRig

from gapless.core.effects import Bind
from gapless.model.lease import Tenure
from gapless.model.plan import MoveKind
from gapless.model.router import RouterId

R1 = RouterId("r1")


def rig_of(*hosts: str, standbys: int = 2) -> StandbyRig:
    """r1 active on h1, then h2, h3, ... ready to succeed, as many as there should be."""
    rig = StandbyRig(*hosts, standbys=standbys)
    rig.protect("r1")
    for _ in range(4):
        rig.settle(*hosts)
        rig.pass_time(1, heard=hosts)
    assert (rig.host("r1"), rig.state("r1")) == ("h1", "active")
    assert rig.standbys_of("r1") == [(host, "ready") for host in hosts[1 : standbys + 1]]
    rig.forget()
    return rig


def three() -> StandbyRig:
    return rig_of("h1", "h2", "h3")


def four() -> StandbyRig:
    """As `three`, with h4 idle."""
    return rig_of("h1", "h2", "h3", "h4")


def binds(rig: StandbyRig) -> list[tuple[str, MoveKind, int]]:
    return [(each.host, each.kind, each.epoch) for each in rig.all_said(Bind)]


def stored(rig: StandbyRig) -> list[tuple[Tenure, int]]:
    return [(each.tenure, each.epoch) for each in rig.store.bindings[R1].successors]
