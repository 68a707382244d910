"""The front of labs: the process that a shell started, which begins them, waits for them and ends them.

Signals come when they like, also between two labs. The rule: a handler only notes them and passes them on, so whatever
comes, what was measured is kept, and what was opened for nothing is taken away again.
"""

import signal
import subprocess
from collections.abc import Sequence
from types import FrameType
from typing import Self

from gapless.lab.machines import enter
from gapless.lab.runner import INTERRUPTED

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Front:
    """While this context lasts, signals end the lab that runs, and no other is begun. SIGTERM and SIGHUP are passed on;
    Ctrl-C reaches the lab from the terminal, and it ends by itself. What was ignored before (`nohup`) stays so.
    """

    def __init__(self) -> None:
        self._is_over = False
        self._lab: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._hear) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, argv: Sequence[str], descriptors: Sequence[int] = ()) -> int:
        """Run `argv` in a lab that gets these descriptors, and wait for its end: the exit status, 128 + n for a signal
        n. INTERRUPTED where it does not begin, as a signal came before.
        """
        if self._is_over:
            return INTERRUPTED
        self._lab = subprocess.Popen(enter.command(argv, outlives_us=False), pass_fds=descriptors)
        if self._is_over:  # meanwhile: it may have come too early for the lab
            self._lab.terminate()
        status = self._lab.wait()
        self._lab = None
        return status if status >= 0 else 128 - status

    def _hear(self, number: int, _: FrameType | None) -> None:
        self._is_over = True
        if self._lab is not None and number != signal.SIGINT:
            self._lab.terminate()
