"""When Python looks for garbage: not while the controller starts and its hosts come back.

CPython looks at all that is old whenever that has grown by a quarter. What a controller reads of its store, and what
each host that comes back is told and says, is hundreds of thousands of objects that all stay: a start had a dozen full
looks, the last of them half a second long with 30,000 routers, and seconds where the machine is busy. In that time no
host is heard.

The rule: what is there when the controller is ready, and what has grown old until every host has come back or is dead,
is taken for what stays (`gc.freeze`). Whatever of it is dropped later is freed as ever, unless it refers to itself.
"""

import asyncio
import gc

_OLDEST = 2
"""The generation of which Python looks at everything."""


def begin() -> None:
    """The controller starts: nothing is garbage yet."""
    gc.disable()


def ready(hosts_come_s: float) -> None:
    """It is ready; hosts come for so long."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.callbacks.append(_keep)
    asyncio.get_running_loop().call_later(hosts_come_s, gc.callbacks.remove, _keep)


def _keep(phase: str, info: dict[str, int]) -> None:
    """Instead of a full look: all that is there stays."""
    if phase == "start" and info["generation"] == _OLDEST:
        gc.freeze()
