"""Where people read: what is printed stands there as it is.

Names and reasons come from users, hosts and kernels, and may have in them what Rich takes for marks: "[bold]", "[/]",
":door:". So no string is markup here, whoever hands it over, and what has a colour is a `Text`. The rule: every console
is one of these; and a spinner's or a panel's words, which Rich reads for itself, are handed over as `Text`.
"""

from typing import IO

from rich.console import Console


def console(*, highlight: bool = True, width: int | None = None, file: IO[str] | None = None) -> Console:
    """A console to which a string is a string. `highlight`: numbers and paths stand out."""
    return Console(markup=False, emoji=False, highlight=highlight, width=width, file=file)
