"""`popcube-server site status`: how this site and its links stand."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from federation.sites.site_client import LINK
from popcube_server.commands.site_calls import call, own_client
from synapse_like_config.load import load_config

SUMMARY = "show lag, backlog and last contact of each peer (the server must be running)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config_path).config

    async def ask(reactor: Any) -> dict[str, Any]:
        client = own_client(config, reactor)
        return await client.get(client.peer, LINK + "status")

    status = call(ask)
    print(json.dumps(status, indent=2) if arguments.json else _text(status))
    return 0


def _text(status: Mapping[str, Any]) -> str:
    where = f"log {status['log']}, position {status['position']}"
    lines = [f"site {status['site']}: {where}, durability {status['durability']}"]
    for peer in status["peers"]:
        silent_ms = peer["silent_for_ms"]
        contact = "never" if silent_ms is None else f"{silent_ms / 1000:.1f} s ago"
        behind = f"backlog {peer['backlog']}, lag {peer['lag_ms'] / 1000:.1f} s"
        line = f"  {peer['name']}: {peer['state']}, {behind}, last contact {contact}"
        if peer["last_error"] is not None:
            line += f", last error: {peer['last_error']}"
        lines.append(line)
    lines.extend(f"  taken in of log {log}: up to {position}" for log, position in status["taken_in"].items())
    if status["held_records"] or status["held_events"]:
        waiting = f"{status['held_records']} records and {status['held_events']} events of other sites"
        lines.append(f"  {waiting} wait until this one can make use of them")
    # An older server, still running, does not say.
    if status.get("is_held_full"):
        lines.append(
            "  nothing more is kept: a site that sends more of what cannot be made use of has to wait"
        )
    return "\n".join(lines)
