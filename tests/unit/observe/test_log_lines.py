"""Log lines: what strangers say cannot look like a line of ours, nor reach the reader's terminal."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from gapless.observe.log import LONGEST, LogFormat, configure, get_logger

FORGED = "2026-01-31T12:00:00.123Z info    controller Rescheduling router r1 from agent a1"
HOSTILE = ["\n", "\r", "\r\n", "\x1b[2J", "\x00", "\x85", "\u2028", "\u202e", "\x9b31m", "\udcff"]
"""Line ends of every kind, terminal sequences, text that runs backwards, half a surrogate pair."""


class Paper:
    """Standard error, with logging set up on it as a program does."""

    def __init__(self, captured: pytest.CaptureFixture[str], log_format: LogFormat) -> None:
        self._captured = captured
        configure("controller", log_format)

    def lines(self) -> list[str]:
        """What was written since the last look."""
        text = self._captured.readouterr().err
        assert text.endswith("\n")
        return text[:-1].split("\n")


@pytest.fixture
def paper(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Paper]]:
    """Called in the test itself: standard error is another one while fixtures are made."""

    def start(log_format: LogFormat = LogFormat.TEXT) -> Paper:
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        return Paper(capsys, log_format)

    yield start
    structlog.reset_defaults()


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_a_message_and_a_value_stay_in_one_printable_line(paper: Callable[..., Paper], hostile: str) -> None:
    written = paper()
    get_logger().info(f"GET /v2.0/{hostile}{FORGED}", peer=f"{hostile}{FORGED}", kind=f"a{hostile}b")
    (line,) = written.lines()
    assert line.isprintable()
    assert " info    controller GET /v2.0/" in line


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_a_traceback_with_a_strangers_words_has_no_line_at_the_left_edge(
    paper: Callable[..., Paper], hostile: str
) -> None:
    written = paper()
    try:
        raise ValueError(f"cannot read{hostile}{FORGED}")
    except ValueError:
        get_logger().error("it failed", exc_info=True)
    first, *story = written.lines()
    assert first.endswith("controller it failed")
    assert story[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") and line.isprintable() for line in story)


def test_what_libraries_log_keeps_the_same_rule(paper: Callable[..., Paper]) -> None:
    written = paper()
    try:
        raise ValueError(f"no HTTP method: \x1b[2J\n{FORGED}")
    except ValueError:
        logging.getLogger("websockets.server").exception("opening handshake failed\n%s", FORGED)
    first, *story = written.lines()
    assert " error   controller opening handshake failed\\n" in first
    assert first.endswith(" library=websockets.server")
    assert first.isprintable()
    assert story[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") and line.isprintable() for line in story)


def test_what_a_library_logs_wrongly_is_a_line_all_the_same(paper: Callable[..., Paper]) -> None:
    written = paper()
    logging.getLogger("some").warning("%d requests", "many")
    (line,) = written.lines()
    assert line.endswith("warning controller %d requests library=some")


def test_what_libraries_log_is_json_where_all_else_is(paper: Callable[..., Paper]) -> None:
    written = paper(LogFormat.JSON)
    logging.getLogger("uvicorn.error").warning("Invalid %s request received.", "HTTP")
    (line,) = written.lines()
    said = json.loads(line)
    assert (said["event"], said["level"], said["role"], said["library"]) == (
        "Invalid HTTP request received.",
        "warning",
        "controller",
        "uvicorn.error",
    )


def test_a_value_cannot_pose_as_two(paper: Callable[..., Paper]) -> None:
    written = paper()
    get_logger().info("Host refused", name="x epoch=9", quoted="'", empty="", plain="10.0.0.1:22")
    (line,) = written.lines()
    assert line.endswith("""Host refused name='x epoch=9' quoted="'" empty='' plain=10.0.0.1:22""")


@pytest.mark.parametrize("log_format", LogFormat)
def test_nothing_is_longer_than_a_reader_can_bear(paper: Callable[..., Paper], log_format: LogFormat) -> None:
    written = paper(log_format)
    get_logger().info("m" * 1_000_000, path="v" * 1_000_000)
    (line,) = written.lines()
    assert line.count("m") <= LONGEST
    assert line.count("v") <= LONGEST
    assert line.count("(of 1000000 characters)") == 2


def test_json_lines_are_whole_whatever_is_in_them(paper: Callable[..., Paper]) -> None:
    written = paper(LogFormat.JSON)
    get_logger().info(f"GET /\n{FORGED}", peer="\x1b[2J")
    (line,) = written.lines()
    assert json.loads(line)["event"] == f"GET /\n{FORGED}"
    assert line.isprintable()
