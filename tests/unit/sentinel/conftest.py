"""Log lines of these tests are kept, rendered as an operator sees them; processes look protected; three beats."""

from collections.abc import Iterator

import pytest
from beat_net import net
from oom_scores import score

from gapless.sentinel import processes
from logged import kept

__all__ = ["net"]


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[list[str]]:
    """Every line that was logged since the test began."""
    with kept("sentinel") as lines:
        yield lines


@pytest.fixture
def own_score(monkeypatch: pytest.MonkeyPatch) -> int:
    """This process's `oom_score_adj`, as if it were protected: few may lower it, so an ordinary one has more."""
    monkeypatch.setattr(processes, "ORDINARY", score() + 1)
    return score()
