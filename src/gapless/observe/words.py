"""Figures in words, for people."""


def counted(number: int, what: str) -> str:
    """`1 host`, `2 hosts`; `what` in the singular, of those that only take an s."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def figure(value: float | None, decimals: int = 1) -> str:
    """A measurement, or that there was none: what was not measured is no 0."""
    return "–" if value is None else f"{value:,.{decimals}f}"
