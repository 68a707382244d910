"""How long something that failed is left alone."""

from gapless.core.backoff import Pace
from gapless.core.ledger.retries import Retries

PACE = Pace(first_s=10, most_s=35, settled_s=100)


def test_waits_double_up_to_a_bound() -> None:
    retries, now, waits = Retries[str](PACE), 0.0, []
    for _ in range(4):
        retries.failed("a", now)
        until = retries.waits_until("a", now)
        assert until is not None
        waits.append(until - now)
        now = until
        assert retries.waits_until("a", now) is None
    assert waits == [10, 20, 35, 35]


def test_what_failed_long_ago_is_forgiven() -> None:
    retries = Retries[str](PACE)
    retries.failed("a", 0)
    retries.failed("a", 10)
    retries.failed("a", 30 + 101)
    assert retries.waiting(131) == {"a": 141}


def test_things_wait_apart_and_success_ends_it() -> None:
    retries = Retries[str](PACE)
    retries.failed("a", 0)
    retries.failed("b", 5)
    assert retries.waiting(12) == {"b": 15}
    retries.forget("b")
    assert retries.waiting(5) == {"a": 10}
