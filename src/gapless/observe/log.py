"""Logging set-up: one structured line a decision or state change, on standard error, for people or for machines.

Lines read `2026-01-31T12:00:00.123Z info  controller Rescheduling router ... router=... host=... epoch=3 cause=...`.
"""

import logging
import sys
from enum import StrEnum
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

Logger = structlog.stdlib.BoundLogger


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
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")


def _render_text(_: WrappedLogger, __: str, event: EventDict) -> str:
    at, level, role, said = (event.pop(key) for key in ("timestamp", "level", "role", "event"))
    story = event.pop("exception", "")
    pairs = " ".join(f"{key}={_quoted(value)}" for key, value in event.items() if value is not None)
    line = f"{at[:23]}Z {level:<7} {role} {said}" + (f" {pairs}" if pairs else "")
    return f"{line}\n{story}" if story else line


def _quoted(value: Any) -> str:
    text = f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return repr(text) if " " in text or not text else text


def get_logger() -> Logger:
    """A logger; bind what a component knows of itself with `.bind(host=...)`."""
    logger: Logger = structlog.get_logger()
    return logger
