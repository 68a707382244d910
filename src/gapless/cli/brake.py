"""`gapless brake`: what holds back a mass move, and how to let it go."""

from typing import Annotated, Any

import typer
from rich.text import Text

from gapless.cli.application import application
from gapless.cli.talk import DEFAULT_API, Api, AsJson, FirstByDefault, console, get, print_json, put

app = application(
    """Look at the brake on mass moves, or release it.

    When more hosts look dead at once than `gapless server --brake-share` allows, it is more likely that the controller
    is cut off than that they all died. Then no router moves for silence until hosts are heard again, or until you say
    that they are really dead.

    Examples:

        gapless brake

        gapless brake release        (after you have made sure that the named hosts are dead)
    """,
    cls=FirstByDefault,
)


@app.command()
def show(api: Api = DEFAULT_API, json: AsJson = False) -> None:
    """Show whether the brake is on, and which hosts look dead."""
    _print(get(api, "brake")["brake"], json=json)


@app.command()
def release(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: you have made sure of it.")] = False,
    api: Api = DEFAULT_API,
    json: AsJson = False,
) -> None:
    """Say that the hosts that look dead are dead: their routers move now.

    A host that is alive after all, only cut off from the controller, goes on running its routers of mode reschedule
    until it hears otherwise, beside their new copies. So make sure first. It is for the hosts that are shown: should
    more of them look dead by the time that you answer, nothing is released.

    Exit status: 0 once the brake is off, 1 if it is not.
    """
    seen = get(api, "brake")["brake"]
    if not seen["engaged"]:
        _print(seen, json=json)
        if not json:
            console.print("It was not on: nothing to release.")
        return
    if not json:
        _print(seen, json=False)
    if not yes:
        typer.confirm(f"Is it certain that these hosts are dead: {', '.join(seen['hosts'])}?", abort=True, err=True)
    released = put(api, "brake", {"brake": {"engaged": False, "hosts": seen["hosts"]}})["brake"]
    if json or released["engaged"]:
        _print(released, json=json)
    if released["engaged"]:  # More hosts have fallen silent between the question and the answer.
        typer.echo("It was released for those that were named, and is on again: look at the others too.", err=True)
        raise typer.Exit(1)
    if json:
        return
    said = f"Released for {', '.join(seen['hosts'])}: their routers are being moved. Watch: gapless status"
    console.print(Text(said), soft_wrap=True)


def _print(brake: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json({"brake": brake})
    elif brake["engaged"]:
        said = f" for {', '.join(brake['hosts'])}: {brake['reason']}"
        console.print(Text.assemble(("on", "bold red"), said), soft_wrap=True)
    else:
        said = f": {brake['reason']}" if brake["reason"] else ""
        console.print(Text.assemble(("off", "green"), said), soft_wrap=True)
