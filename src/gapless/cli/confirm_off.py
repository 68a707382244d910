"""`gapless confirm-off`: an operator's word that machines are off."""

from typing import Annotated

import typer

from gapless.cli.application import application
from gapless.cli.talk import DEFAULT_API, Api, AsJson, console, print_json, put

app = application()


def vouched(hosts: list[str]) -> str:
    """What somebody says who confirms."""
    return (
        f"You vouch for each of these machines: {', '.join(hosts)}\n"
        "  - It is off, or destroyed, or cut from every network by hand. You have seen it: no answer is not enough.\n"
        "  - So is every other machine that ever had this name and could still run.\n"
        "  - It does not go on from where it was. A suspended or paused virtual machine is not off: power it off.\n"
        "Their leases end by your word, as if the arbiters had buried them: their routers become active elsewhere,\n"
        "and where a majority of the arbiters is gone, other hosts become arbiters without asking them.\n"
        "If it is not true, a router may forward on two hosts at once, and nothing of Gapless prevents that."
    )


@app.command()
def confirm_off(
    hosts: Annotated[list[str], typer.Argument(metavar="HOST", help="Names, as `gapless status` shows them.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: you have read what you vouch for.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say only whether it would be taken.")] = False,
    api: Api = DEFAULT_API,
    json: AsJson = False,
) -> None:
    """Say that machines are off, which you have made sure of. (With Pacemaker this is `pcs stonith confirm`.)

    For what nobody is left to prove: a majority of the arbiters is lost with their machines, or a host and its standby
    are, and routers wait for them. It is refused for a host that was heard within agent-down-time, and where another
    host proves that one of them is on. Of several hosts it is taken for all or for none.

    A host that was confirmed off may be switched on again at any time: it stands by, as after any start.

    Examples:

        gapless arbiters                         (what is lost, and which hosts to confirm)

        gapless confirm-off net2 net3 --dry-run

        gapless confirm-off net2 net3
    """
    would_be = put(api, "confirm-off", {"confirm_off": {"hosts": hosts, "dry_run": True}})
    names = sorted(set(hosts))
    if dry_run:
        if json:
            print_json(would_be)
            return
        console.print(f"It would be taken for {', '.join(names)}. Nothing was done.")
        return
    if not yes:
        typer.echo(vouched(names), err=json)
        typer.confirm("Are they off?", abort=True, err=json)
    taken = put(api, "confirm-off", {"confirm_off": {"hosts": hosts, "dry_run": False}})
    if json:
        print_json(taken)
        return
    console.print(f"Confirmed off: {', '.join(names)}. Watch: gapless arbiters, gapless status", soft_wrap=True)
