"""The `gapless` command: finds the verb's module, imports only that one, so that `gapless host` starts lean.

Each verb is a module beside this one (`_` where the verb has `-`) with a Typer application named `app`.
"""

import sys
from importlib import import_module

from gapless import __version__
from gapless.errors import GaplessError
from gapless.observe import reader

VERBS = {
    "server": "the controller: Neutron API, planner, records",
    "host": "a machine that carries routers: sentinel, beat, agent and flows",
    "status": "hosts and routers, and why each router is where it is",
    "failovers": "moves of routers, with their timelines",
    "drain": "take a host out of service, and watch its routers leave",
    "undrain": "put a host back into service",
    "rebalance": "even out how many routers are active on each host",
    "brake": "the brake on mass moves: look at it, or release it",
    "arbiters": "who grants leases, who of them is heard, and what to do if too few are",
    "confirm-off": "say that machines are off, which you have made sure of",
    "lab": "hosts, switches and VMs in namespaces on this machine",
    "demo": "watch a host die and its routers run elsewhere",
}


def usage() -> str:
    """The page that `gapless --help` prints."""
    verbs = "\n".join(f"  {verb:<11} {purpose}" for verb, purpose in VERBS.items())
    return (
        f"gapless {__version__}: keeps virtual routers forwarding\n\n"
        f"usage: gapless VERB [OPTIONS]\n\n{verbs}\n\n"
        "Each verb has its own --help; `gapless --version` says which release this is. Begin with `gapless demo`: it\n"
        "needs no root and no set-up."
    )


def module_of(verb: str) -> str:
    """The module that has a verb's application."""
    return f"gapless.cli.{verb.replace('-', '_')}"


def main() -> int:
    """Entry point of the console script; returns the exit status (2 for a usage error, 1 for a failure)."""
    with reader.may_go():
        return _run(sys.argv[1:])


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    verb, *rest = arguments
    if verb in ("--version", "version"):
        print(f"gapless {__version__}")
        return 0
    if verb not in VERBS:
        wrong = "options come after the verb" if verb.startswith("-") else f"there is no verb '{verb}'"
        print(f"gapless: {wrong}\n\n{usage()}", file=sys.stderr)
        return 2
    app = import_module(module_of(verb)).app
    try:
        app(args=rest, prog_name=f"gapless {verb}")
    except GaplessError as error:
        print(f"gapless {verb}: {error}", file=sys.stderr)
        return 1
    return 0
