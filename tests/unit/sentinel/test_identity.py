"""Who a host is: made once, counted up durably, and owned by one sentinel at a time."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from gapless.errors import InvalidRequest, InvariantError, Unavailable
from gapless.model.host import HostName, Incarnation
from gapless.model.lease import DEFAULT, Panel, PanelVersion
from gapless.model.plan import PanelPlan
from gapless.sentinel import durable
from gapless.sentinel.identity import Identity, StateDirectory


def start(path: Path) -> Identity:
    """One start of a sentinel."""
    with StateDirectory(path) as state:
        return state.begin_incarnation()


def test_the_instance_stays_and_the_incarnation_grows(tmp_path: Path) -> None:
    first, second, third = (start(tmp_path / "deep" / "state") for _ in range(3))
    assert str(uuid.UUID(first.instance)) == first.instance
    assert first.instance == second.instance == third.instance
    assert [each.incarnation for each in (first, second, third)] == [1, 2, 3]
    assert (tmp_path / "deep" / "state").stat().st_mode & 0o777 == 0o700


def test_two_hosts_are_two_instances(tmp_path: Path) -> None:
    assert start(tmp_path / "a").instance != start(tmp_path / "b").instance


def test_the_cluster_is_kept(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        identity = state.begin_incarnation()
        assert identity.cluster is None
        assert state.join("c1").cluster == "c1"
    after = start(tmp_path)
    assert (after.cluster, after.incarnation) == ("c1", 2)


def test_two_sentinels_never_share_a_state_directory(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.begin_incarnation()
        with pytest.raises(InvalidRequest, match=f"another sentinel \\(process {os.getpid()}\\).*--state-dir"):
            StateDirectory(tmp_path)
    assert start(tmp_path).incarnation == 2


RACER = """
import sys
from pathlib import Path
from gapless.errors import InvalidRequest
from gapless.sentinel.identity import StateDirectory
sys.stdin.readline()
try:
    state = StateDirectory(Path(sys.argv[1]))
except InvalidRequest:
    print("refused")
else:
    print(state.begin_incarnation().incarnation)
sys.stdout.flush()
sys.stdin.readline()
"""


def test_of_racing_sentinels_one_gets_the_directory_and_a_killed_one_leaves_it(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    try:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    assert sorted(answers) == ["1", "refused", "refused", "refused"]
    assert start(tmp_path).incarnation == 2


def test_a_write_torn_anywhere_leaves_the_old_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between any two steps of a write: the old file is whole, and the next start counts on from it."""
    before = start(tmp_path)
    real_replace = Path.replace

    class PowerCut(Exception):
        pass

    def cut(*_: object) -> None:
        raise PowerCut

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(durable.os, "fsync", cut) if step == "fsync" else patched.setattr(Path, "replace", cut)
            with pytest.raises(PowerCut):
                start(tmp_path)
    assert Path.replace is real_replace
    draft = tmp_path / ".identity.json.draft"
    whole = (tmp_path / "identity.json").read_bytes()
    for kept in range(len(whole)):
        draft.write_bytes(whole[:kept])
        assert (tmp_path / "identity.json").read_bytes() == whole
    after = start(tmp_path)
    assert (after.instance, after.incarnation) == (before.instance, before.incarnation + 1)


def test_a_damaged_identity_is_told_and_never_replaced(tmp_path: Path) -> None:
    start(tmp_path)
    file = tmp_path / "identity.json"
    whole = file.read_bytes()
    for kept in range(len(whole) - 2):  # without the last bytes, "}\n", but never a whole object
        file.write_bytes(whole[:kept])
        with pytest.raises(InvalidRequest, match="is damaged"):
            start(tmp_path)
        assert file.read_bytes() == whole[:kept]


@pytest.mark.parametrize(
    "change",
    [
        {"instance": "me"},
        {"incarnation": 0},
        {"incarnation": "x"},
        {"instance": "F0E1D2C3-0000-4000-8000-000000000000"},
    ],
)
def test_an_identity_with_impossible_values(tmp_path: Path, change: dict[str, object]) -> None:
    start(tmp_path)
    file = tmp_path / "identity.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InvalidRequest, match="is damaged"):
        start(tmp_path)


def test_a_state_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(Unavailable, match=r"state directory .* cannot be used"):
        StateDirectory(tmp_path / "state")


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    start(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(durable.os, "fsync", full)
        with pytest.raises(Unavailable, match=r"identity\.json cannot be written: No space left"):
            start(tmp_path)
    assert contents(tmp_path).keys() == {"sentinel.lock", "identity.json"}, "nothing half-written takes room"
    assert start(tmp_path).incarnation == 2, "the failed start counted for nothing, and nobody heard of it"


def test_an_identity_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "identity.json").mkdir(parents=True)
    with pytest.raises(Unavailable, match="cannot be read"):
        start(tmp_path)


# --- removed while its sentinel runs

PANEL = PanelPlan(
    timing=DEFAULT,
    panel=Panel(version=PanelVersion(3), floor=PanelVersion(2), sets=(frozenset({HostName("net1")}),)),
    addresses=(),
)
ALL = ("sentinel.lock", "identity.json", "panel.json", "plan.json")


def filled(path: Path) -> StateDirectory:
    """A state directory of a sentinel that runs, with everything in it."""
    state = StateDirectory(path)
    state.begin_incarnation()
    state.join("c1")
    state.keep_panel(PANEL)
    state.plan.write(b"the plan")
    return state


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_what_is_removed_is_put_back_and_told_once(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with filled(path) as state:
        before = contents(path)
        assert before.keys() == set(ALL)
        assert state.restore() == ()
        shutil.rmtree(path)
        assert state.restore() == ALL
        assert contents(path) == before
        assert path.stat().st_mode & 0o777 == 0o700
        assert state.restore() == ()
        (path / "panel.json").unlink()
        (path / "plan.json").unlink()
        assert state.restore() == ("panel.json", "plan.json")
        assert contents(path) == before


def test_what_the_start_found_is_put_back_too(tmp_path: Path) -> None:
    """Nobody has said a newer plan or newer arbiters yet."""
    path = tmp_path / "state"
    filled(path).__exit__(None, None, None)
    with StateDirectory(path) as state:
        state.begin_incarnation()
        state.load_panel()
        assert state.plan.read(bytes) == b"the plan"
        shutil.rmtree(path)
        assert state.restore() == ALL
        assert state.load_panel() == PANEL
        assert (path / "plan.json").read_bytes() == b"the plan"


def test_an_incarnation_is_on_the_disk_before_it_is_used_though_the_directory_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with filled(path) as state:
        instance = json.loads((path / "identity.json").read_text())["instance"]
        shutil.rmtree(path)
        assert state.next_incarnation() == 2
        kept = json.loads((path / "identity.json").read_text())
        assert kept == {"instance": instance, "incarnation": 2, "cluster": "c1"}
        assert state.restore() == ("sentinel.lock", "panel.json", "plan.json"), "the identity is there already"
    after = start(path)
    assert (after.instance, after.incarnation, after.cluster) == (instance, 3, "c1")


def test_an_older_copy_in_its_place_never_lets_the_incarnation_fall(tmp_path: Path) -> None:
    path, copy = tmp_path / "state", tmp_path / "copy"
    with filled(path) as state:
        shutil.copytree(path, copy)
        assert state.next_incarnation(Incarnation(40)) == 41
        shutil.rmtree(path)
        copy.rename(path)
        assert state.restore() == ALL
        assert json.loads((path / "identity.json").read_text())["incarnation"] == 41
        assert state.next_incarnation() == 42


def test_a_second_sentinel_is_kept_from_a_directory_that_was_made_again(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with filled(path) as state:
        shutil.rmtree(path)
        state.restore()
        with pytest.raises(InvalidRequest, match=f"another sentinel \\(process {os.getpid()}\\)"):
            StateDirectory(path)


def test_a_second_sentinel_that_was_quicker_keeps_the_first_from_writing(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with filled(path) as state:
        shutil.rmtree(path)
        with StateDirectory(path):
            for write in (state.restore, state.next_incarnation, lambda: state.join("c2")):
                with pytest.raises(Unavailable, match="another sentinel"):
                    write()
            assert contents(path).keys() == {"sentinel.lock"}
        assert state.next_incarnation() == 2, "refused elsewhere, it went away without an identity"


@pytest.mark.parametrize("found", ["another host's", "damaged"])
def test_what_somebody_put_in_its_place_is_left_alone(tmp_path: Path, found: str) -> None:
    path = tmp_path / "state"
    with filled(path) as state:
        shutil.rmtree(path)
        if found == "damaged":
            path.mkdir()
            (path / "identity.json").write_bytes(b"{")
        else:
            start(path)
        before = (path / "identity.json").read_bytes()
        for write in (state.restore, state.next_incarnation, lambda: state.keep_panel(PANEL)):
            with pytest.raises(Unavailable, match=r"was replaced by .*(another host|cannot be read)"):
                write()
        assert (path / "identity.json").read_bytes() == before
        shutil.rmtree(path)
        assert state.restore() == ALL


def test_a_directory_that_cannot_be_made_again_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with filled(path) as state:
        shutil.rmtree(path)
        path.write_text("in the way")
        for write in (state.restore, state.next_incarnation):
            with pytest.raises(Unavailable, match=r"state directory .* cannot be used"):
                write()
        path.unlink()
        assert state.next_incarnation() == 2, "what could not be written was not used"


def test_nobody_is_somebody_before_the_start(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state, pytest.raises(InvariantError):
        state.next_incarnation()
