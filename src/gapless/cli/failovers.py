"""`gapless failovers`: moves of routers, and the timeline of each."""

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gapless.cli import routers
from gapless.cli.application import application
from gapless.cli.talk import DEFAULT_API, Api, AsJson, FirstByDefault, console, duration, get, local_time, print_json
from gapless.errors import NotFound

app = application(
    """Show how routers moved: from where, to where, why, and how long each step took.

    A move is recorded from the decision on: schedule (its first host), takeover (its host's lease ended, and its
    standby took over by itself), restart (its host came back, and nobody had taken over), reschedule (its host went
    silent, and the controller moved it), drain (its host is to be left: taken out of service, about to stop, deleted,
    or without an agent that works), retry (its host could not run it), manual (an operator named it, or evened out).

    Examples:

        gapless failovers                 (the newest 50)

        gapless failovers --host host-2

        gapless failovers show edge       (its newest move)

        gapless failovers show 0f2c9a4e 3 (by how its id begins; epoch 3)
    """,
    cls=FirstByDefault,
)

_ANY_WIDTH = 10_000
_NAMED = "its name, its id, or how its id begins"

_COLOURS = {"confirmed": "green", "failed": "bold red", "superseded": "yellow", "running": "cyan"}

_MEANINGS = {
    "last_heard": "the last report of the host that it leaves arrived",
    "granted": "the arbiters granted the host that it leaves its lease for the last time",
    "missed": "the arbiters missed the first beat of the host that it leaves",
    "silent": "a quorum of arbiters had told the standby that this host is silent",
    "decided": "it was decided where it goes: by the controller, or in a takeover by the standby, which claims",
    "buried": "a quorum of arbiters had buried that host: it holds no lease, and never will again",
    "opened": "the router's frames pass on its new host",
    "bound": "the new binding was stored",
    "withdrawn": "the host that it leaves had closed it, or had nothing left of it",
    "sent": "the plan left for the new host",
    "built": "the new host had built it",
    "announced": "the new host had told the network (gratuitous ARP)",
    "forwarded": "the new host was seen to have forwarded a packet for it",
    "confirmed": "the controller heard that it is active",
    "failed": "the new host could not build it; another move follows",
    "superseded": "a newer move was decided first",
}


@app.command(name="list")
def list_(
    router: Annotated[str | None, typer.Option(help=f"Only moves of this router ({_NAMED}).")] = None,
    host: Annotated[str | None, typer.Option(help="Only moves from or to this host.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=routers.MOST_MOVES, help="The newest so many.")] = 50,
    api: Api = DEFAULT_API,
    json: AsJson = False,
) -> None:
    """List moves, the newest last, with the time from first step to last."""
    router_id = None if router is None else routers.meant(api, router)
    moves = get(api, "failovers", router_id=router_id, host=host, limit=limit)["failovers"]
    if json:
        print_json(moves)
        return
    if not moves:
        console.print("No such move is recorded." if router or host else "No move is recorded yet.")
        return
    console.print(_moves(moves[::-1]))


@app.command()
def show(
    router: Annotated[str, typer.Argument(help=f"Which router: {_NAMED}.")],
    epoch: Annotated[int | None, typer.Argument(help="Which move; without it the newest.")] = None,
    api: Api = DEFAULT_API,
    json: AsJson = False,
) -> None:
    """Show one move step by step, in time order, with the time between steps, and since the first beat that was missed.

    Where none was missed, it is the time since the first step.
    """
    router_id = routers.meant(api, router)
    move = _newest(api, router_id) if epoch is None else _one(api, router_id, epoch)
    if json:
        print_json(move)
        return
    name = routers.printable(move["router_name"])
    which = (f"Router {move['router_id']}", "bold")
    console.print(Text.assemble(which, f" {name}, epoch {move['epoch']}"), soft_wrap=True)
    way = f"{move['kind']} from {move['from_host'] or '-'} to {move['to_host']}"
    console.print(f"{way}: {move['reason']}", soft_wrap=True)
    if move["detail"]:
        console.print(move["detail"], soft_wrap=True)
    console.print(_timeline(move["timeline"]))
    took = f" after {duration(move['total_ms'])}; event {move['cause']} in the controller's log"
    console.print(Text.assemble(_outcome(move), took))


def _moves(moves: list[dict[str, Any]]) -> Table:
    """A line a move, or two where one has no room."""
    table = _table(moves, is_narrow=False)
    whole = console.measure(table, options=console.options.update(max_width=_ANY_WIDTH))
    return table if whole.maximum <= console.width else _table(moves, is_narrow=True)


def _table(moves: list[dict[str, Any]], *, is_narrow: bool) -> Table:
    columns = ("epoch", "move", "outcome") if is_narrow else ("epoch", "kind", "from", "to", "outcome", "took")
    table, short = Table("decided", "router", *columns), routers.short_ids(move["router_id"] for move in moves)
    for move in moves:
        decided = next(step["at"] for step in move["timeline"] if step["step"] == "decided")
        router = routers.shown(move["router_name"], short[move["router_id"]])
        table.add_row(local_time(decided), router, str(move["epoch"]), *_story(move, is_narrow=is_narrow))
    return table


def _story(move: dict[str, Any], *, is_narrow: bool) -> tuple[str | Text, ...]:
    kind, before, after = move["kind"], move["from_host"] or "-", move["to_host"]
    outcome, took = _outcome(move), duration(move["total_ms"])
    if is_narrow:
        return f"{kind}\n{before} to {after}", Text.assemble(outcome, "\n", took)
    return kind, before, after, outcome, took


def _outcome(move: dict[str, Any]) -> Text:
    return Text(move["outcome"], style=_COLOURS[move["outcome"]])


def _newest(api: str, router: str) -> dict[str, Any]:
    moves: list[dict[str, Any]] = get(api, "failovers", router_id=router, limit=1)["failovers"]
    if not moves:
        raise NotFound(f"no move of router {router} is recorded: `gapless failovers` lists those that are")
    return moves[0]


def _one(api: str, router: str, epoch: int) -> dict[str, Any]:
    try:
        move: dict[str, Any] = get(api, f"failovers/{router}/{epoch}")["failover"]
    except NotFound as error:
        raise NotFound(f"{error}: `gapless failovers --router {router}` lists its moves") from error
    return move


def _timeline(steps: list[dict[str, Any]]) -> Table:
    since = "since\nmissed" if any(step["step"] == "missed" for step in steps) else "since\nfirst"
    table = Table("when", "after", since, "step", "what")
    for step in steps:
        after = "" if step["after_ms"] is None else _signed(step["after_ms"])
        what = _MEANINGS.get(step["step"], "")
        table.add_row(local_time(step["at"]), after, _signed(step.get("since_ms")), step["step"], what)
    return table


def _signed(milliseconds: float | None) -> str:
    if milliseconds is None:  # A controller of an earlier release does not say it.
        return ""
    return f"{'-' if milliseconds < 0 else '+'}{duration(abs(milliseconds))}"
