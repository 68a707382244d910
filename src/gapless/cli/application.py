"""What the Typer applications of all verbs have alike: pages of plain text, as wide as they can be read.

What is indented in a page, as examples are, stays line by line as it is written, so that it can be copied.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup

_AS_IT_IS = "\b"
"""In a line of its own before a paragraph: Click does not fill it."""


F = TypeVar("F", bound=Callable[..., Any])


class _Application(typer.Typer):
    def command(self, name: str | None = None, **how: Any) -> Callable[[F], F]:
        """As Typer's; the page is the function's docstring."""

        def added(function: F) -> F:
            page = _page(inspect.getdoc(function) or "")
            return super(_Application, self).command(name, **{"help": page} | how)(function)

        return added


def application(help_: str | None = None, *, cls: type[TyperGroup] | None = None, lists: bool = False) -> typer.Typer:
    """A verb's. An error that nobody foresaw is shown as Python does, not drawn in boxes.

    `help_` is for verbs of several commands; `lists`: where none is named, they are listed.
    """
    return _Application(
        cls=cls,
        help=None if help_ is None else _page(inspect.cleandoc(help_)),
        no_args_is_help=lists,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"max_content_width": 110},
    )


def _page(text: str) -> str:
    paragraphs = text.split("\n\n")
    return "\n\n".join(f"{_AS_IT_IS}\n{each}" if each.startswith("    ") else each for each in paragraphs)
