"""What the Typer applications of all verbs have alike: pages of plain text, as wide as they can be read."""

import typer
from typer.core import TyperGroup


def application(help_: str | None = None, *, cls: type[TyperGroup] | None = None, lists: bool = False) -> typer.Typer:
    """A verb's. An error that nobody foresaw is shown as Python does, not drawn in boxes.

    `help_` is for verbs of several commands; `lists`: where none is named, they are listed.
    """
    return typer.Typer(
        cls=cls,
        help=help_,
        no_args_is_help=lists,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"max_content_width": 110},
    )
