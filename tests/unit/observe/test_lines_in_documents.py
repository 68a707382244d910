"""Whatever somebody may be woken up for stands in the operators' manual: each line that is a warning, or worse."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "src" / "gapless"
SPEAKERS = ("agent", "controller", "flows", "kernel", "sentinel", "observe")
LOUD = {"warning", "error", "critical", "exception", "persists"}
WORDS = 28
"""Characters of a line by which the manual is searched: in between what the line is about is filled in."""
FEW = 8


def lines() -> Iterator[tuple[str, str]]:
    """Where a line is said, and the line, `…` for each value in it."""
    for speaker in SPEAKERS:
        for path in sorted((SOURCES / speaker).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOUD:
                    for line in filter(None, map(written, node.args)):
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", line


def written(node: ast.expr) -> str:
    """The text that stands in the source; "" for what is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)
    return ""


def test_a_line_that_wakes_somebody_is_explained() -> None:
    manual = re.sub(
        r"\s+", " ", (ROOT / "docs" / "operating.md").read_text() + (ROOT / "docs" / "lease.md").read_text()
    )
    found = list(lines())
    assert len(found) > 30
    missing = []
    for where, line in found:
        parts = [part.strip(" .,:;") for part in line.split("…")]
        parts = [part for part in parts if len(part) > FEW]
        if parts and not any(part[:WORDS] in manual for part in parts):
            missing.append(f"{where}: {line}")
    if missing:
        pytest.fail("docs/operating.md explains nothing of:\n" + "\n".join(missing))
