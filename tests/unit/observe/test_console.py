"""Where people read."""

import io
import re
from pathlib import Path

import pytest
from rich.table import Table

import gapless
from gapless.observe.console import console


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "[/]", ":door:", "[link=x]", "\\[a]"])
def test_a_string_is_a_string(text: str) -> None:
    file = io.StringIO()
    table = Table(text, title=text)
    table.add_row(text)
    out = console(file=file, width=80)
    out.print(text)
    out.print(table)
    assert file.getvalue().count(text) == 4


def test_every_console_is_one_of_these_and_nothing_is_read_for_marks() -> None:
    for path in Path(gapless.__file__).parent.rglob("*.py"):
        marks = re.findall(r"\bConsole\(|from_markup|markup=True", path.read_text())
        assert marks == (["Console("] if path.match("observe/console.py") else []), path
