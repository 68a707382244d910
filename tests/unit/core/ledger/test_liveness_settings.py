"""The numbers of liveness are numbers, and fit each other."""

from math import inf, nan

import pytest

from gapless.config import Liveness
from gapless.errors import InvalidRequest
from gapless.lab.settings import LabSettings


@pytest.mark.parametrize("wrong", [nan, inf, -inf, 0.0, -30.0])
@pytest.mark.parametrize("name", ["report_interval", "agent_down_time"])
def test_times_are_finite_and_positive(name: str, wrong: float) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} must be a number of seconds greater than 0, and not {wrong:g}"):
        Liveness(**{f"{name}_s": wrong})
    with pytest.raises(InvalidRequest, match=f"{name} must be"):
        LabSettings(**{f"{name}_s": wrong})


@pytest.mark.parametrize("wrong", [nan, inf, 0.0, -0.1, 1.1])
def test_a_share_is_a_share(wrong: float) -> None:
    with pytest.raises(InvalidRequest, match="brake_share must be greater than 0 and at most 1"):
        Liveness(brake_share=wrong)


def test_one_late_report_makes_no_host_look_down() -> None:
    with pytest.raises(InvalidRequest, match="must be at least twice report_interval"):
        Liveness(report_interval_s=10, agent_down_time_s=19.9)
    assert Liveness(report_interval_s=10, agent_down_time_s=20, brake_share=1).dead_after_s == 40


@pytest.mark.parametrize("wrong", [nan, inf, -1.0, 0.5])
def test_probes_of_a_lab_have_an_interval(wrong: float) -> None:
    with pytest.raises(InvalidRequest, match="probes can be sent each 1 ms or slower"):
        LabSettings(interval_ms=wrong)
