"""Figures in words."""

from gapless.observe.words import counted, figure


def test_one_is_singular() -> None:
    assert [counted(number, "router") for number in (0, 1, 2, 1000)] == [
        "0 routers",
        "1 router",
        "2 routers",
        "1,000 routers",
    ]


def test_what_was_not_measured_is_no_zero() -> None:
    assert [figure(None), figure(0.0), figure(1234.56), figure(1234.56, 0)] == ["–", "0.0", "1,234.6", "1,235"]
