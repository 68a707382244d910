"""Run whole fleets on virtual time, one a seed; stop at the first seed in which an oracle is violated.

`python -m gapless.sim --seeds N [--seed FIRST] [--story]`
"""

import argparse
import sys
from time import monotonic

from gapless.sim.run import Outcome, run

PROGRESS_EVERY_S = 2.0
STORY_LINES = 200


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 if every oracle held for every seed, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m gapless.sim", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="how many seeds to run (default 1)")
    parser.add_argument("--seed", type=int, default=1, metavar="FIRST", help="the first of them (default 1)")
    parser.add_argument("--story", action="store_true", help="print the whole story of each seed")
    asked = parser.parse_args(arguments)
    return run_seeds(range(asked.seed, asked.seed + asked.seeds), with_story=asked.story)


def run_seeds(seeds: range, *, with_story: bool) -> int:
    """Run them in order; stop at the first violation and say how to see it again."""
    started = said = monotonic()
    moves, virtual_s = 0, 0.0
    for count, seed in enumerate(seeds, start=1):
        outcome = run(seed)
        moves, virtual_s = moves + outcome.moves, virtual_s + outcome.virtual_s
        if with_story:
            _say("\n".join(outcome.story))
        if outcome.violation:
            _say(_failure(outcome, with_story=with_story))
            return 1
        if monotonic() - said > PROGRESS_EVERY_S:
            said = monotonic()
            _say(f"{count} of {len(seeds)} seeds, {moves} moves, {virtual_s / 3600:.1f} virtual hours")
    took_s = monotonic() - started
    _say(
        f"{len(seeds)} seeds, {moves} moves, {virtual_s / 3600:.1f} virtual hours in {took_s:.1f} s: every oracle held"
    )
    return 0


def _failure(outcome: Outcome, *, with_story: bool) -> str:
    story = [] if with_story else ["", f"Its last {STORY_LINES} lines:", *outcome.story[-STORY_LINES:]]
    return "\n".join(
        [
            *story,
            "",
            f"seed {outcome.seed}: {outcome.violation.splitlines()[0]}",
            f"again: python -m gapless.sim --seed {outcome.seed} --story",
        ]
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
