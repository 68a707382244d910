"""How the end of what a sentinel starts is noticed, where it may have no more threads."""

import asyncio
import sys


def watch_children_without_threads() -> None:
    """The end of a child is noticed by a descriptor (pidfd_open(2)), as newer Pythons do it by themselves: with a
    thread for each, one that cannot be started leaves a child that runs and that nobody knows.
    """
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
