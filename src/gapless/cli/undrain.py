"""`gapless undrain`: put a host back into service."""

from typing import Annotated
from urllib.parse import quote

import typer

from gapless.cli.application import application
from gapless.cli.talk import DEFAULT_API, Api, console, get, put
from gapless.observe.words import counted

app = application()


@app.command()
def undrain(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A name, as `gapless status` shows it.")],
    api: Api = DEFAULT_API,
) -> None:
    """Put a host back into service: it keeps what has not left it yet, gets routers again, and stands by for others.

    Nothing moves back by itself. What is on its way arrives where it was going.

    Examples:

        gapless undrain net1
    """
    path = f"hosts/{quote(host, safe='')}/drain"
    put(api, path, {"drain": {"wanted": False}})
    left = get(api, path)["drain"]
    console.print(f"{host} is back in service, with {counted(left['routers'], 'router')}.", soft_wrap=True)
