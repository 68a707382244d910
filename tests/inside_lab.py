"""Tests marked `lab` run as pid 1 of fresh namespaces, each in a lab of its own (`gapless.lab.machines.enter`).
Tests marked `netns` start labs themselves, as people do.

Outside, such a test is one pytest process inside a lab, and its outcome; so no test can touch the machine's own
networks, and whatever a test leaves is gone with its namespaces. A directory's conftest.py asks for this by importing
the hook. Where the machine forbids namespaces, tests of both kinds are left out as `namespaces.leave_out` says; and so
is a test that was skipped inside. Where it is only too busy for them, they fail.
"""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

import namespaces
from gapless.errors import Refused, Unavailable
from gapless.lab.machines import enter


@cache
def why_forbidden() -> str | None:
    """What forbids labs here; None where nothing does. Fails the test where that is not known, and is asked again."""
    try:
        enter.try_it()
    except Refused as refused:
        return str(refused)
    except Unavailable as error:
        pytest.fail(str(error), pytrace=False)
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("netns") and (reason := why_forbidden()):
        namespaces.leave_out(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if item.get_closest_marker("lab") is None or enter.is_inside():
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    interrupts = (KeyboardInterrupt, pytest.exit.Exception)
    call = pytest.CallInfo.from_call(lambda: run_inside(item), when="call", reraise=interrupts)
    report = item.ihook.pytest_runtest_makereport(item=item, call=call)
    item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    # Out here nothing was set up for it; but what earlier tests have set up may end with it.
    item.session._setupstate.teardown_exact(nextitem)
    return True


def run_inside(item: pytest.Item) -> None:
    if reason := why_forbidden():
        namespaces.leave_out(reason)
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory, "outcome.xml")
        options = ["-q", "--no-header", "-p", "no:cacheprovider", "--tb=short", f"--junitxml={told}"]
        argv = [sys.executable, "-m", "pytest", *options, item.nodeid]
        # A little sooner than the timeout out here, so that a test that hangs says where.
        argv += ["-o", "timeout=240"]
        done = subprocess.run(
            enter.command(argv, outlives_us=False),
            cwd=item.config.rootpath,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"inside the lab (status {done.returncode}):\n{done.stdout}{done.stderr}", pytrace=False)
        if reason := why_skipped(told):
            namespaces.leave_out(f"inside the lab: {reason}")


def why_skipped(told: Path) -> str:
    """The reason, by pytest's JUnit report of one test; "" when it ran. One that failed as expected ran."""
    left_out = [each for each in ElementTree.parse(told).iter("skipped") if each.get("type") == "pytest.skip"]
    return ", ".join(each.get("message", "") for each in left_out)
