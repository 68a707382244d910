"""`gapless brake`: what holds back a mass move, and how to let it go."""

from typing import Any

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

        gapless brake release        (after you have made sure that the named hosts are down)
    """,
    cls=FirstByDefault,
)


@app.command()
def show(api: Api = DEFAULT_API, json: AsJson = False) -> None:
    """Show whether the brake is on, and which hosts look dead."""
    _print(get(api, "brake")["brake"], json=json)


@app.command()
def release(api: Api = DEFAULT_API, json: AsJson = False) -> None:
    """Say that the hosts that look dead are dead: their routers move now.

    A host that is alive after all, only cut off from the controller, goes on running its routers until it hears
    otherwise. So make sure first.
    """
    was_engaged = get(api, "brake")["brake"]["engaged"]
    _print(put(api, "brake", {"brake": {"engaged": False}})["brake"], json=json)
    if not json and not was_engaged:
        console.print("It was not on: nothing to release.")
    elif not json:
        console.print("Released: the routers of the hosts that look dead now are being moved. Watch: gapless status")


def _print(brake: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json({"brake": brake})
    elif brake["engaged"]:
        said = f" for {', '.join(brake['hosts'])}: {brake['reason']}"
        console.print(Text.assemble(("on", "bold red"), said), soft_wrap=True)
    else:
        said = f": {brake['reason']}" if brake["reason"] else ""
        console.print(Text.assemble(("off", "green"), said), soft_wrap=True)
