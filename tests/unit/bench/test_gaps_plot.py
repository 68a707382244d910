"""The picture of gaps: well-formed, self-contained, and every figure in words."""

from xml.etree import ElementTree as ET

from gaps_plot import Row, draw

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [Row(label="slow & old", gaps_ms=[6000.0, 7000.0]), Row(label="quick", gaps_ms=[40.0, 50.0, 400.0])]


def test_each_router_is_a_dot_and_longer_gaps_lie_further_right() -> None:
    drawn = ET.fromstring(draw("Gaps", ROWS))
    dots = [(float(dot.attrib["cx"]), dot[0].text) for dot in drawn.iter(f"{SVG}circle")]
    assert [text for _, text in sorted(dots)] == ["40 ms", "50 ms", "400 ms", "6 s", "7 s"]


def test_figures_and_labels_are_written_out() -> None:
    words = [text.text for text in ET.fromstring(draw("Gaps", ROWS)).iter(f"{SVG}text")]
    assert {"Gaps", "slow & old", "quick", "6 s · 7 s · 7 s", "50 ms · 400 ms · 400 ms"} <= set(words)


def test_nothing_is_fetched() -> None:
    assert "http" not in draw("Gaps", ROWS).replace("http://www.w3.org/2000/svg", "")


def test_no_gaps_no_dots() -> None:
    assert not list(ET.fromstring(draw("Gaps", [Row(label="nothing", gaps_ms=[])])).iter(f"{SVG}circle"))
