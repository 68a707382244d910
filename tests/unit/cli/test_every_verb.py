"""Every verb's --help: plain text that looks alike, whatever the terminal."""

from importlib import import_module

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from gapless.cli.main import VERBS, module_of


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_is_plain_and_offers_what_works(verb: str) -> None:
    app = import_module(module_of(verb)).app
    pages = [[], *([name] for name in getattr(get_command(app), "commands", {}))]
    for page in pages:
        done = CliRunner().invoke(app, [*page, "--help"], prog_name=f"gapless {verb}")
        assert done.exit_code == 0
        assert done.output.startswith(f"Usage: gapless {' '.join([verb, *page])} ")
        assert "**" not in done.output
        assert "--install-completion" not in done.output
        assert done.output.isascii() or not set(done.output) & set("╭─│╰")


@pytest.mark.parametrize("verb", VERBS)
def test_examples_can_be_copied_line_by_line(verb: str) -> None:
    """However narrow the terminal is."""
    app = import_module(module_of(verb)).app
    commands = getattr(get_command(app), "commands", {})
    for command, page in [(get_command(app), []), *((each, [name]) for name, each in commands.items())]:
        shown = CliRunner().invoke(app, [*page, "--help"], terminal_width=60).output.splitlines()
        written = [line for line in (command.help or "").splitlines() if line.startswith("    ")]
        assert {f"  {line}" for line in written} <= set(shown)
        assert all("gapless" in line or line.startswith("     ") for line in written), "nothing else is indented"
