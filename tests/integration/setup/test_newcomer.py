"""What a newcomer types first, in a clone of what is here: `make demo`, and again; and nothing is left of it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import namespaces
from leftovers import Ground, nothing_left

ROOT = Path(__file__).parents[3]
BARE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE_S = 400
UNREACHABLE = re.compile(r"\(from versions: none\)|Max retries exceeded|Read timed out|name resolution")
"""How pip says that it did not come to where packages are, rather than that it does not like what is there."""


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with nothing_left(tmp_path / "ground") as ground:
        yield ground


@pytest.fixture
def clone(ground: Ground) -> Path:
    """The files that a clone would have, as they are now, and nothing that was made from them."""
    if shutil.which("git") is None:
        namespaces.leave_out("there is no git here that says which files a clone has")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    if listed.returncode:
        namespaces.leave_out(f"which files a clone has is not known here: {listed.stderr.strip().splitlines()[0]}")
    clone = ground.root / "clone"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():  # else it was removed, which is not committed yet
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name, follow_symlinks=False)
    return clone


def environment(ground: Ground) -> Mapping[str, str]:
    """That of a login without a profile; and how this machine comes to packages, if it has a way of its own."""
    at = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pip/pip.conf"
    configured = {"PIP_CONFIG_FILE": str(at)} if at.exists() else {}
    given = re.compile(r"PIP_|SSL_CERT|(http|https|no)_proxy$", re.IGNORECASE)
    passed = {name: value for name, value in os.environ.items() if given.match(name)}
    return {"PATH": BARE} | configured | passed | ground.environment


def make_demo(clone: Path, env: Mapping[str, str], *arguments: str, before: str = ":", after: str = ":") -> str:
    """What it says; in a mount namespace of its own, with these commands around it, where there are any."""
    commands = f"{before} && make demo ARGS='{' '.join(arguments)}' && {after}"
    apart = ["unshare", "-Urm"] if before != ":" else []
    done = subprocess.run(
        [*apart, "sh", "-c", commands],
        env=dict(env),
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode and UNREACHABLE.search(done.stderr):
        namespaces.leave_out(f"pip does not come to packages here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.netns
@pytest.mark.timeout(900)
def test_a_clone_shows_the_demo_twice_and_is_all_that_is_left(ground: Ground, clone: Path, tmp_path: Path) -> None:
    """The second one also writes its report to /run, which the lab has one of its own of: here it is a tmpfs that
    nobody else sees.
    """
    env = environment(ground)
    pages = [tmp_path / "standby.html", tmp_path / "reschedule.html"]

    first = make_demo(clone, env, "--report", str(pages[0]))

    assert first.startswith("setup: Python packages (runtime), pinned and hash-checked")
    tells_of_a_takeover(first)
    assert "Their standbys took" in pages[0].read_text()

    words = ("--mode", "reschedule", "--routers", "3", "--report", "/run/story.html")
    second = make_demo(clone, env, *words, before="mount -t tmpfs run /run", after=f"cp /run/story.html {pages[1]}")

    assert "setup:" not in second, "there was nothing to set up any more"
    tells_of_the_controller(second)
    assert all('class="lost"' in page.read_text() for page in pages)


def tells_of_a_takeover(shown: str) -> None:
    told = " ".join(shown[shown.index("The story") :].split())  # lines end where the times leave room
    steps = (
        "the arbiters grant host-2 its lease for the last time",
        "the arbiters miss the first beat of host-2",
        "its lease is over",
        "every arbiter is asked to bury host-2",
        "has buried host-2",
        "traffic is back",
    )
    assert all(words in told for words in steps), told
    places = [told.index(words) for words in steps]
    assert places == sorted(places), told
    assert "-50.0 ms the arbiters grant" in told, told
    assert " 0.0 ms the arbiters miss" in told, told
    assert "their first packets are counted as forwarded" in told, told
    assert "took over router" in told, "the controller's words"
    assert "2 of 6 routers moved" in told, "six routers are spread over three hosts"
    assert "qg-" in told, "the router on its new host, as `ip` shows it"
    assert "gapless demo --mode reschedule" in told


def tells_of_the_controller(shown: str) -> None:
    told = " ".join(shown.split())
    assert "because the agent did not report to the server in the last 4 seconds." in told
    assert "traffic is back" in told
    assert "1 of 3 routers moved" in told, "three routers are spread over three hosts"
    assert "gapless demo --mode standby" in told


@pytest.mark.parametrize("ci", ["", "true"])
def test_without_packages_it_is_left_out_in_one_line_but_where_nobody_reads_that(
    ci: str, ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    words = "ERROR: Could not find a version that satisfies the requirement aiosqlite==0.22.1 (from versions: none)"
    (tmp_path / "Makefile").write_text(f"demo:\n\t@echo '{words}' >&2; echo 'ERROR: No' >&2; exit 1\n")
    left_out = pytest.fail.Exception if ci else pytest.skip.Exception
    with pytest.raises(left_out) as told:
        make_demo(tmp_path, environment(ground))
    assert str(told.value).startswith(f"pip does not come to packages here: {words}")
    assert len(str(told.value).splitlines()) == 1
