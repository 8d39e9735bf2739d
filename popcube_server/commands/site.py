"""`popcube-server site`: set up, fill and watch a site of an organization that lives on several. See docs/sites.md."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from popcube_server.commands import site_init, site_join, site_reload, site_status, site_take_over
from popcube_server.commands.site_errors import SiteCommandFailed
from storage.engines.engine import StorageError
from storage.migrate import SchemaTooNew
from synapse_like_config.errors import ConfigError


class Verb(Protocol):
    """What the module of a verb offers."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


_VERBS: Mapping[str, Verb] = {
    "init": cast(Verb, site_init),
    "join": cast(Verb, site_join),
    "reload": cast(Verb, site_reload),
    "status": cast(Verb, site_status),
    "take-over": cast(Verb, site_take_over),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, module in _VERBS.items():
        verb = verbs.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        verb.add_argument(
            "-c",
            "--config-path",
            action="append",
            required=True,
            type=Path,
            metavar="FILE",
            help="a configuration file; later ones override earlier ones",
        )
        module.add_arguments(verb)


def run(arguments: argparse.Namespace) -> int:
    try:
        return _VERBS[arguments.verb].run(arguments)
    except (SiteCommandFailed, ConfigError, OSError, StorageError, SchemaTooNew) as error:
        print(error, file=sys.stderr)
        return 1
