"""`gapless arbiters`: who grants leases, who of them is heard, and what to do if too few are."""

from typing import Any

from rich.table import Table
from rich.text import Text

from gapless.cli.application import application
from gapless.cli.talk import DEFAULT_API, Api, AsJson, console, get, local_time, print_json

app = application()

_LEVELS = {
    "none": "no arbiters yet",
    "single": "one set of arbiters; a majority of it is needed",
    "joint": "old arbiters are being replaced by new ones; a majority of each set is needed",
    "raised": "old arbiters are nearly replaced by new ones; a majority of each set is needed",
}


@app.command()
def arbiters(api: Api = DEFAULT_API, json: AsJson = False) -> None:
    """Show who grants leases, who of them is heard, and what to do if too few are.

    A host forwards routers with standbys only while a majority of the arbiters grants it its lease. Heard means heard
    by the controller: one that is cut off sees less than hosts do among themselves, so hosts that hold their leases
    are named as well.

    Examples:

        gapless arbiters

        gapless arbiters --json | jq -e '.arbiters.lost == false'
    """
    panel = get(api, "arbiters")["arbiters"]
    if json:
        print_json({"arbiters": panel})
        return
    console.print(f"Panel {panel['version']}, floor {panel['floor']}: {_LEVELS[panel['level']]}", soft_wrap=True)
    if panel["arbiters"]:
        console.print(_table(panel["arbiters"]))
    holders = ", ".join(panel["holders"]) or "no host that is heard"
    console.print(f"Leases: held by {holders}", soft_wrap=True)
    verdict = ("lost:", "bold red") if panel["lost"] else ("ok:", "green")
    console.print(Text.assemble(verdict, f" {panel['reason']}"), soft_wrap=True)


def _table(known: list[dict[str, Any]]) -> Table:
    table = Table()
    for column in ("arbiter", "set", "heard", "last heard", "standing"):
        table.add_column(column)
    for each in known:
        last = local_time(each["heard_at"]) if each["heard_at"] else "not since the start"
        standing = "confirmed off" if each["confirmed_off"] else each["standing"]
        heard = Text("yes", style="green") if each["heard"] else Text("no", style="bold red")
        table.add_row(each["name"], ", ".join(each["panels"]), heard, last, standing)
    return table
