"""Tests in namespaces of their own: one marked `@pytest.mark.isolated` runs as root of a machine that is not there.

Each such test runs in a forked child with its own user, network, mount and pid namespace: it may create interfaces,
namespaces and rules, /run is empty, and when it ends the kernel takes all of it away, processes included. Fixtures of
such a test are made in the child, once a test. Where user namespaces are forbidden, the test is skipped and says so;
in continuous integration (CI=true) it fails, for nobody reads what a green run skipped. So it does everywhere where
nothing says that they are forbidden, and there are none: on a machine that is too busy.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from functools import cache
from typing import NoReturn

import pytest
from _pytest.runner import runtestprotocol

MARKER = "isolated"
TIMEOUT_S = 120.0
HAD_WITHIN_S = 60.0
"""While the kernel takes many namespaces apart, new ones may wait for it."""

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
_MS_PRIVATE_EVERYWHERE = (1 << 18) | 0x4000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_isolated: list[int] = []
"""Holds this process's id once it is a child with namespaces of its own."""


def leave_out(reason: str) -> NoReturn:
    """Skip the test that runs, as this machine forbids it what it needs; fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; CI=true, so this is no reason to skip a test", pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a marked test in a child with namespaces of its own, and report what it reported."""
    if item.get_closest_marker(MARKER) is None or item.get_closest_marker("skip"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports_of(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    # Out here nothing was set up for it; but what earlier tests have set up may end with it.
    item.session._setupstate.teardown_exact(nextitem)
    return True


@cache
def why_forbidden() -> str:
    """Why tests cannot have namespaces of their own here; "" where they can. Fails the test where that is not known,
    and is asked again.
    """
    said = run_isolated(lambda: b"yes", timeout_s=HAD_WITHIN_S)
    if not said:
        why = f"no namespaces were to be had within {HAD_WITHIN_S:g} s, or the child that asked for them was ended"
        pytest.fail(f"{why}: this machine is busy; nothing says that it forbids them", pytrace=False)
    return "" if said == b"yes" else f"user namespaces are not to be had here ({said.decode(errors='replace')})"


def leave_out_where_forbidden() -> None:
    """Go on only where a test can have namespaces of its own."""
    if reason := why_forbidden():
        leave_out(reason)


def run_isolated(work: Callable[[], bytes], timeout_s: float = TIMEOUT_S) -> bytes:
    """What `work` returns in a child with its own namespaces; the reason where there is no such child."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: the child touches none of them
        child = os.fork()
    if child == 0:
        os.close(reading)
        _in_child(writing, work)
    os.close(writing)
    try:
        return _read_all(reading, timeout_s)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def require() -> None:
    """Fail unless this is a child with namespaces of its own: what follows must never touch the machine's."""
    if not _isolated:
        pytest.fail("this test changes the kernel's network state: mark it isolated", pytrace=False)


def _reports_of(item: pytest.Item) -> list[pytest.TestReport]:
    def work() -> bytes:
        reports = runtestprotocol(item, log=False)
        return json.dumps([report._to_json() for report in reports]).encode()

    asked = pytest.CallInfo.from_call(
        leave_out_where_forbidden, "call", reraise=(KeyboardInterrupt, pytest.exit.Exception)
    )
    if asked.excinfo is not None:
        return [pytest.TestReport.from_item_and_call(item, asked)]
    # The child has another user's name, whose directory may be somebody else's.
    item.config._tmp_path_factory.getbasetemp()
    said = run_isolated(work)
    try:
        return [_report(each) for each in json.loads(said)]
    except ValueError:
        words = said.decode(errors="replace") or f"the test ended without a report, or took over {TIMEOUT_S:g} s"
        return [_report_of(item, lambda: pytest.fail(words, pytrace=False))]


def _report(said: dict[str, object]) -> pytest.TestReport:
    """A report as it was before it became JSON, which has no tuples: where and why a test was skipped is one."""
    report = pytest.TestReport._from_json(said)
    if report.skipped and isinstance(report.longrepr, list):
        path, line, why = report.longrepr
        report.longrepr = (path, line, why)
    return report


def _report_of(item: pytest.Item, outcome: Callable[[], NoReturn]) -> pytest.TestReport:
    return pytest.TestReport.from_item_and_call(item, pytest.CallInfo.from_call(outcome, "call"))


def _in_child(writing: int, work: Callable[[], bytes]) -> None:
    """Enter new namespaces; the work is process 1 of its own, so nothing that it starts outlives it."""
    try:
        _die_with_parent()
        user, group = os.geteuid(), os.getegid()
        _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWNET), "unshare")
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {user} 1")
        _write("/proc/self/gid_map", f"0 {group} 1")
        first = os.fork()
        if first == 0:
            _die_with_parent()
            _check(_libc.mount(b"none", b"/", None, _MS_PRIVATE_EVERYWHERE, None), "make mounts private")
            _check(_libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount /proc")
            _check(_libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, b"mode=0755"), "mount /run")
            _isolated.append(os.getpid())
            _write_all(writing, work())
        else:
            os.waitpid(first, 0)
    except BaseException:  # noqa: BLE001 - the parent is told, whatever it is
        _write_all(writing, traceback.format_exc(limit=-3).encode())
    finally:
        sys.stdout.flush()
        os._exit(0)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _check(result: int, about: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{about}: {os.strerror(ctypes.get_errno())}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - /proc files are written once, as they are
        file.write(text)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _read_all(descriptor: int, timeout_s: float) -> bytes:
    """What arrives until the other end closes, or the time is over."""
    deadline = time.monotonic() + timeout_s
    parts = []
    while (left_s := deadline - time.monotonic()) > 0 and select.select([descriptor], [], [], left_s)[0]:
        part = os.read(descriptor, 1 << 16)
        if not part:
            break
        parts.append(part)
    return b"".join(parts)
