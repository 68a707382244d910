"""Keeps the state directory whole while its sentinel runs: what somebody removes is put back.

Were it not, this host would go on until its next start and then be another machine, or be left with no incarnation to
come back with after its lease lapsed. Nobody tells of a removal, so the directory is looked at now and then.
"""

import asyncio
from collections.abc import Callable, Sequence

from gapless.errors import Unavailable
from gapless.observe.ailment import Ailment
from gapless.observe.log import get_logger

LOOK_S = 5.0
"""A look is four names in a directory."""


async def keep_whole(restore: Callable[[], Sequence[str]], look_s: float = LOOK_S) -> None:
    """Until cancelled. `restore` is `StateDirectory.restore`."""
    log = get_logger()
    trouble = Ailment()
    while True:
        await asyncio.sleep(look_s)
        try:
            removed = await asyncio.to_thread(restore)
        except Unavailable as error:
            what = (
                "what was removed from the state directory cannot be put back; after a restart this is another machine"
            )
            trouble.persists(log.error, what, reason=str(error))
            continue
        trouble.ends(log.info, "the state directory is whole again")
        if removed:
            what = (
                "files were removed from the state directory while this host runs, and are put back; to make it "
                "another machine, stop it first"
            )
            log.warning(what, files=", ".join(removed))
