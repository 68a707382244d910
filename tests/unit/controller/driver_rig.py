"""What tests of the planner's shell share: hosts with a router on the first one, and lines of the log."""

from typing import Any

from shell_fakes import Bench, add_routers, router_id

from gapless.controller.store.engine import Store
from gapless.model.host import HostName

ONE, TWO, THREE = HostName("h1"), HostName("h2"), HostName("h3")
Log = list[dict[str, Any]]


async def a_router_on_one(store: Store, *names: str) -> Bench:
    """Routers on h1, with h2 and h3 standing by; everything is quiet."""
    bench = await Bench.open(store)
    await bench.connect("h1")
    await bench.settle()
    await add_routers(store, *names)
    bench.shell.pilot.routers_changed([router_id(name) for name in names])
    await bench.settle()
    await bench.connect("h2")
    await bench.connect("h3")
    await bench.pass_time(2, "h1", "h2", "h3")
    assert all(bench.host_of(router_id(name)) == ONE for name in names)
    return bench


def lines(log: Log, text: str) -> Log:
    return [line for line in log if text in line["event"]]
