"""How well the kernel protects a process when memory runs out, as the kernel says it."""

from pathlib import Path


def score(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
