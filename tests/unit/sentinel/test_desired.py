"""The plan as a level, and its file: readable, whole or absent, and never fatal."""

import asyncio
import json
from pathlib import Path

import pytest
from fake_controller import PATIENCE_S, eventually, planned

from gapless.core.hostplan import EMPTY_PLAN, HostPlan
from gapless.model.plan import Revision
from gapless.sentinel import durable
from gapless.sentinel.desired import REST_MOST_S, Desired, keep_on_disk, load_plan
from gapless.sentinel.durable import KeptFile
from gapless.wire.messages import AgentPlan, encode_plan

PLAN = HostPlan.of(Revision(7), [planned("a", 3, "web"), planned("b")])


def plan_in(path: Path) -> HostPlan:
    return load_plan(KeptFile(path))


async def kept(path: Path, *plans: HostPlan) -> None:
    """Follow plans one after another, and return when the file holds the last one."""
    desired = Desired()
    keeping = asyncio.create_task(keep_on_disk(desired, KeptFile(path), retry_s=0.01))
    for plan in plans:
        desired.follow(plan)
        await asyncio.sleep(0)
    await eventually(lambda: plan_in(path).revision == plans[-1].revision)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_plan_survives_a_restart_and_people_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    await kept(file, PLAN)
    assert plan_in(file) == PLAN
    text = file.read_text()
    assert len(text.splitlines()) > 10
    assert json.loads(text)["confirmed"] is False
    assert file.stat().st_mode & 0o777 == 0o600


async def test_only_the_newest_of_many_plans_has_to_be_written(tmp_path: Path) -> None:
    await kept(tmp_path / "plan.json", *(HostPlan.of(Revision(number), [planned("a")]) for number in range(1, 200)))
    assert plan_in(tmp_path / "plan.json").revision == 199


async def test_while_plans_follow_each_other_the_disk_rests_for_most_of_the_time(tmp_path: Path) -> None:
    desired, versions, goes_on = Desired(), list[int](), asyncio.Event()
    rests: list[float] = []
    clock = iter((10.0, 10.05, 20.0, 23.0, 30.0))

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await goes_on.wait()

    file = KeptFile(tmp_path / "plan.json")
    keeping = asyncio.create_task(
        keep_on_disk(desired, file, kept=versions.append, clock=lambda: next(clock), rest=rest)
    )
    try:
        desired.follow(HostPlan.of(Revision(1), [planned("a")]))
        await eventually(lambda: len(rests) == 1)
        for number in range(2, 10):
            desired.follow(HostPlan.of(Revision(number), [planned("a")]))
            await asyncio.sleep(0)
        assert plan_in(file.path).revision == 1
        goes_on.set()
        await eventually(lambda: len(rests) == 2)
        assert plan_in(file.path).revision == 9
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert versions == [2, 10]
    assert rests == [pytest.approx(0.45), REST_MOST_S]


def test_a_plan_torn_at_any_byte_is_set_aside(tmp_path: Path, log_lines: list[str]) -> None:
    file = tmp_path / "plan.json"
    whole = encode_plan(AgentPlan(confirmed=False, revision=PLAN.revision, routers=tuple(PLAN.routers.values())))
    for kept_bytes in range(len(whole)):
        file.write_bytes(whole[:kept_bytes])
        assert plan_in(file) == EMPTY_PLAN
        assert not file.exists()
        assert (tmp_path / "plan.json.damaged").read_bytes() == whole[:kept_bytes]
    assert sum("set aside" in line for line in log_lines) == len(whole)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"[]", b'{"type":"agent-alive"}', b"[" * 100_000, b'{"type":"change","revision":1}', b"\x00" * 4096],
)
def test_a_file_that_is_something_else_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    assert plan_in(tmp_path / "plan.json") == EMPTY_PLAN
    assert (tmp_path / "plan.json.damaged").read_bytes() == content


def test_no_file_is_no_plan_and_an_unreadable_one_is_a_line(tmp_path: Path, log_lines: list[str]) -> None:
    assert plan_in(tmp_path / "plan.json") == EMPTY_PLAN
    assert log_lines == []
    (tmp_path / "plan.json").mkdir()
    assert plan_in(tmp_path / "plan.json") == EMPTY_PLAN
    assert "cannot be read" in log_lines[0]


async def test_a_full_disk_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: list[str]
) -> None:
    real = durable.os.fsync
    failures = 3

    def full(descriptor: int) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(durable.os, "fsync", full)
    desired = Desired()
    keeping = asyncio.create_task(keep_on_disk(desired, KeptFile(tmp_path / "plan.json"), retry_s=0.01))
    desired.follow(PLAN)
    await eventually(lambda: any("kept on disk again" in line for line in log_lines))
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert plan_in(tmp_path / "plan.json") == PLAN
    assert sum("No space left on device" in line for line in log_lines) == 1


async def test_a_plan_in_doubt_is_not_written_and_not_lost(tmp_path: Path) -> None:
    desired = Desired(PLAN)
    assert not desired.is_confirmed, "what comes from the disk is not confirmed"
    desired.doubt()
    assert desired.version == 1
    desired.follow(PLAN)
    assert desired.is_confirmed
    desired.doubt()
    assert (desired.is_confirmed, desired.plan) == (False, PLAN)


async def test_everybody_who_waits_hears_of_a_new_version() -> None:
    desired = Desired()
    waiting = [asyncio.create_task(desired.newer_than(desired.version)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    desired.follow(PLAN)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*waiting)
        await desired.newer_than(0)
