"""Logging set-up: one structured line a decision or state change, on standard error, for people or for machines.

Lines read `2026-01-31T12:00:00.123Z info  controller Rescheduling router ... router=... host=... epoch=3 cause=...`.

The rule: much of what is logged was said by strangers, and a reader must be able to believe what a line says. So what
cannot be printed is escaped, nothing is longer than `LONGEST`, and only lines of ours begin at the left edge: those of
a traceback are indented.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

import structlog
from structlog.typing import EventDict, WrappedLogger

Logger = structlog.stdlib.BoundLogger
LONGEST: Final = 1000
"""Characters of a message, of a value or of a traceback's line."""
_INDENT = "  "
_NEEDS_QUOTES = frozenset(" '\"\\")


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


def configure(role: str, log_format: LogFormat = LogFormat.TEXT, level: int = logging.INFO) -> None:
    """Set up logging for the whole process. `role` names it in each line: controller, sentinel, agent, lab."""

    def add_role(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["role"] = role
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_role,
        structlog.processors.format_exc_info,
        _bounded,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format is LogFormat.JSON else _render_text
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_AsOurs()])


class _AsOurs(logging.Handler):
    """What libraries log becomes lines like our own, in either format; `library` says whose they are."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except (TypeError, ValueError):  # Its arguments do not fit: a bug of the library's, which ends nothing here.
            said = str(record.msg)
        get_logger().log(record.levelno, said, library=record.name, exc_info=record.exc_info)


def _bounded(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Cut what is too long, whatever the format; a traceback is bounded by its lines."""
    return {
        key: _cut(value) if isinstance(value, str) and key != "exception" else value for key, value in event.items()
    }


def _render_text(_: WrappedLogger, __: str, event: EventDict) -> str:
    at, level, role, said = (event.pop(key) for key in ("timestamp", "level", "role", "event"))
    story = event.pop("exception", "")
    pairs = " ".join(f"{key}={_quoted(value)}" for key, value in event.items() if value is not None)
    line = f"{at[:23]}Z {level:<7} {role} {_printable(str(said))}" + (f" {pairs}" if pairs else "")
    return "\n".join((line, *_indented(story.splitlines())))


def _indented(story: Iterable[str]) -> Iterator[str]:
    return (_INDENT + _printable(line) for line in story)


def _printable(text: str) -> str:
    """In one line, bounded, and without anything that a terminal would obey."""
    text = _cut(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _quoted(value: Any) -> str:
    text = f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else _cut(str(value))
    is_plain = text.isprintable() and text and _NEEDS_QUOTES.isdisjoint(text)
    return text if is_plain else repr(text)


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    remark = f"... (of {len(text)} characters)"
    return text[: LONGEST - len(remark)] + remark


def get_logger() -> Logger:
    """A logger; bind what a component knows of itself with `.bind(host=...)`."""
    logger: Logger = structlog.get_logger()
    return logger
