"""The command line, `popcube-server COMMAND`.

Each command is a module in `popcube_server/commands/` with `add_arguments(parser)` and `run(arguments) -> int`.
Only the module that was asked for is imported: `version` should not wait for a whole server to load.
"""

import argparse
import gc
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Protocol, cast

# name -> (module in popcube_server.commands, one line of help)
COMMANDS = {
    "serve": ("serve", "run the server in the foreground"),
    "generate-config": ("generate_config", "write a configuration file with fresh secrets and a signing key"),
    "register-user": ("register_user", "create an account"),
    "site": ("site", "set up, fill and watch a site of an organization on several datacenters"),
    "check-config": ("check_config", "read a configuration and say what is wrong with it"),
    "version": ("version", "print the version"),
}

# How many objects are made between two looks for garbage while modules are loaded; older ones are not looked at again.
YOUNG_OBJECTS = 700
NEVER = 1_000_000_000


class Command(Protocol):
    """What a module in `popcube_server.commands` offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status of the process: 0, 1 for a failure, 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        words = ["version"]
    chooser = _chooser()
    if not words or words[0] not in COMMANDS:
        # argparse prints the help, or complains and leaves with status 2.
        chooser.parse_args(words or ["--help"])
        return 2
    module_name, summary = COMMANDS[words[0]]
    command = _load_command(module_name)
    parser = argparse.ArgumentParser(prog=f"popcube-server {words[0]}", description=summary)
    command.add_arguments(parser)
    return command.run(parser.parse_args(words[1:]))


def _load_command(module_name: str) -> Command:
    # Twisted would offer HTTP/2 to TLS if the library for it happens to be there. This server speaks HTTP/1.1
    # (web_site.py) and need not load it: 1.5 MiB. None is Python's own word for a module that is not to be had.
    sys.modules.setdefault("twisted.web._http2", cast(ModuleType, None))
    # What is imported stays: to look through all of it for garbage while it grows would take a third of the time that
    # the loading takes. Among what was just made it is looked for: each class that was given slots leaves the one
    # behind that had none, and the next ones take its place in memory. Of all together that would be 1.7 MiB.
    thresholds = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, NEVER, NEVER)
    try:
        return cast(Command, importlib.import_module(f"popcube_server.commands.{module_name}"))
    finally:
        gc.freeze()
        gc.set_threshold(*thresholds)


def _chooser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS)) + 2
    listing = "\n".join(f"  {name:<{width}}{summary}" for name, (_, summary) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="popcube-server",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"commands:\n{listing}\n\n`popcube-server COMMAND --help` says more.",
    )
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="one of the below")
    return parser
