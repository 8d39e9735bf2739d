"""`popcube-server site take-over`: this site has the duties from now on, because the other one is lost."""

import argparse
from typing import Any

from federation.sites.site_client import LINK
from popcube_server.commands.site_calls import call, own_client
from synapse_like_config.load import load_config

SUMMARY = "let this site send to other servers, because the other one is lost (the server must be running)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "For two sites without a witness. See to it first that the other site is down, or reaches no other server: "
        "until it hears of this, it goes on sending too."
    )


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config_path).config

    async def ask(reactor: Any) -> dict[str, Any]:
        client = own_client(config, reactor)
        return await client.post(client.peer, LINK + "take_over", {})

    duties = call(ask)["duties"]
    for duty, epoch in duties.items():
        print(f"This site has the duty {duty} within seconds (decision {epoch}).")
    return 0
