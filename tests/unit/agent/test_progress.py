"""When the log tells how far a host is with many routers."""

from kernel_in_memory import planned
from worklist_rig import Bench

from gapless.agent.jobs import Failed
from gapless.agent.progress import EVERY_S, MANY, Progress


def test_it_is_told_each_few_seconds_while_many_wait() -> None:
    progress = Progress()
    told = [at for at in range(100, 118) if progress.is_due(MANY + 1, float(at))]
    assert told == [100 + EVERY_S, 100 + 2 * EVERY_S, 100 + 3 * EVERY_S]


def test_it_is_not_told_of_a_few_and_begins_anew_after_them() -> None:
    progress = Progress()
    assert not progress.is_due(MANY + 1, 100.0)
    assert not progress.is_due(MANY, 200.0)
    assert not progress.is_due(MANY + 1, 300.0)
    assert progress.is_due(MANY + 1, 300.0 + EVERY_S)


def lines(bench: Bench) -> list[str]:
    told = bench.worklist.take_lines()
    return [f"{it.text} {dict(it.fields)}" for it in told if it.text.startswith("built") and not it.is_warning]


def test_a_worklist_tells_what_is_built_what_waits_and_what_failed() -> None:
    bench = Bench()
    bench.plan(*(planned(f"r{number}") for number in range(1000)))
    for _ in range(20):
        (job,) = bench.jobs(1)
        bench.end(job, after_s=0.5)
    assert lines(bench) == [
        "built 10 of 1,000 routers {'waiting': 990}",
        "built 20 of 1,000 routers {'waiting': 980}",
    ]
    for _ in range(10):
        (job,) = bench.jobs(1)
        bench.end(job, Failed(reason="no"), after_s=0.5)
    (line,) = lines(bench)
    assert line.startswith("built 20 of 1,000 routers {'waiting': 9")
    assert line.endswith("'failed': 10}")


def test_a_worklist_with_nothing_to_do_tells_nothing() -> None:
    bench = Bench()
    bench.plan(*(planned(f"r{number}") for number in range(1000)))
    bench.work_off()
    bench.now += 100
    bench.plan(*(planned(f"r{number}") for number in range(1000)))
    assert lines(bench) == []
