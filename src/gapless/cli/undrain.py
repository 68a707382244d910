"""`gapless undrain`: put a host back into service."""

from typing import Annotated

import typer

from gapless.cli.application import application
from gapless.cli.talk import DEFAULT_API, Api, AsJson, console, get, host_path, print_json, put
from gapless.observe.words import counted

app = application()


@app.command()
def undrain(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A name, as `gapless status` shows it.")],
    api: Api = DEFAULT_API,
    json: AsJson = False,
) -> None:
    """Put a host back into service: it keeps what has not left it yet, gets routers again, and stands by for others.

    Nothing moves back by itself. What is on its way arrives where it was going.

    Examples:

        gapless undrain net1
    """
    path = host_path(host, "drain")
    put(api, path, {"drain": {"wanted": False}})
    left = get(api, path)["drain"]
    if json:
        print_json({"drain": left})
        return
    console.print(f"{host} is back in service, with {counted(left['routers'], 'router')}.", soft_wrap=True)
