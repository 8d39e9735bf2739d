"""`popcube-server site reload`: the running server takes its peers from the configuration."""

import argparse
import json
from typing import Any

from federation.sites.site_client import LINK
from popcube_server.commands.site_calls import call, own_client
from synapse_like_config.load import load_config

SUMMARY = "let the running server take its peers from the configuration, without a restart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config_path).config

    async def ask(reactor: Any) -> dict[str, Any]:
        client = own_client(config, reactor)
        return await client.post(client.peer, LINK + "reload", {})

    answer = call(ask)
    if arguments.json:
        print(json.dumps(answer, indent=2))
        return 0
    for what, names in (
        ("New sites", answer["added"]),
        ("Sites that are none any more", answer["removed"]),
        ("Sites with another address, key or certificate", answer["changed"]),
        ("Takes effect with the next start", answer["needs_restart"]),
    ):
        if names:
            print(f"{what}: {', '.join(names)}")
    if answer["prefers_another"]:
        print("Another site is preferred for duties.")
    if not any(answer[what] for what in ("added", "removed", "changed", "prefers_another")):
        print("The sites are the same.")
    return 0
