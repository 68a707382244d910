"""What people are told to type, in documents, units and messages, is what there is to type."""

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from gapless.cli.main import VERBS, module_of

ROOT = Path(__file__).parents[3]
COMMAND = re.compile(rf"(`?)\bgapless ((?:{'|'.join(VERBS)})\b[^`\n|&;)#\"]*)")
OPTION = re.compile(r"--[a-z][a-z-]*")
ALONE = re.compile(r"`(--[a-z][a-z-]*)[^`]*`")
VARIABLE = re.compile(r"\bGAPLESS_[A-Z_]+\b")
OF_OTHERS = {
    "--enable": "openstack",
    "--no-ha": "openstack",
    "--provider-physical-network": "openstack",
    "--raise-neighbour-limits": "benchmarks",
    "--strict": "benchmarks",
}
TEXTS = [
    path
    for pattern in ("*.md", "docs/**/*.md", "deploy/*", "src/**/*.py")
    for path in sorted(ROOT.glob(pattern))
    if COMMAND.search(path.read_text())
]


@cache
def commands(verb: str) -> dict[str, frozenset[str]]:
    """The options of each command of a verb; of "" those of all of them."""
    command = get_command(import_module(module_of(verb)).app)
    found = {
        name: frozenset({"--help"}.union(*((*each.opts, *each.secondary_opts) for each in one.params)))
        for name, one in getattr(command, "commands", {verb: command}).items()
    }
    return {"": frozenset().union(*found.values())} | found


@cache
def variables() -> frozenset[str]:
    """The environment variables that options are read from."""
    found: set[str] = set()
    for verb in VERBS:
        command = get_command(import_module(module_of(verb)).app)
        for one in getattr(command, "commands", {verb: command}).values():
            found |= {each.envvar for each in one.params if isinstance(each.envvar, str)}
    return frozenset(found)


def wrong(text: str) -> list[str]:
    """Of the commands in a text: options that they do not have, and commands that there are not."""
    found = []
    for match in COMMAND.finditer(text.replace("\\\n", " ")):
        verb, *words = re.split(r"[\s,:]+", match[2].partition(" -- ")[0].strip())
        known, first = commands(verb), next(iter(words), "")
        if match[1] and len(known) > 2 and re.fullmatch(r"[a-z][a-z-]*", first) and first not in known:
            found.append(f"{verb} {first}")
        options = [option[0] for word in words if (option := OPTION.match(word.strip("([")))]
        found += [f"{verb} {each}" for each in options if each not in known.get(first, known[""])]
    return found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_there_is_what_is_told(path: Path) -> None:
    text = path.read_text()
    assert wrong(text) == []
    if path.suffix == ".py":
        return
    assert set(VARIABLE.findall(text)) <= variables()
    if path.suffix == ".md":
        known = frozenset(OF_OTHERS).union(*(commands(verb)[""] for verb in VERBS))
        assert set(ALONE.findall(text)) <= known


def test_what_there_is_not_is_found() -> None:
    lines = (
        "`gapless lab run --hosts 3 --no-such`; gapless lab exec x -- ip --br",
        "gapless host --name x \\",
        "    --hosts 3",
        "`gapless brake relese`",
    )
    assert wrong("\n".join(lines)) == ["lab --no-such", "host --hosts", "brake relese"]


def test_what_the_readme_has_ubuntu_allow_is_what_a_lab_there_asks_for() -> None:
    (setting,) = re.findall(r"sysctl -w (\S+=\d+)", (ROOT / "README.md").read_text())
    assert f'"{setting}"' in (ROOT / "src/gapless/lab/machines/enter.py").read_text()
