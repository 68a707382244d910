"""How many connections a host tracks: by its newest report that says it, for hosts know it once they track any."""

from standby_rig import StandbyRig

from gapless.model.host import HostName


def test_what_a_report_says_stands_until_another_one_says_otherwise() -> None:
    rig = StandbyRig("h1", "h2")

    def tracked() -> list[int | None]:
        views = rig.planner.host_views(0.0)
        return [views[HostName(each)].tracked_most for each in ("h1", "h2")]

    assert tracked() == [None, None]
    rig.guard("h1", tracked=65_536)
    assert tracked() == [65_536, None]
    rig.guard("h1")
    assert tracked() == [65_536, None], "it has not found out otherwise"
    rig.guard("h1", tracked=262_144)
    assert tracked() == [262_144, None]
