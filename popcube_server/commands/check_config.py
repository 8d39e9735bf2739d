"""`popcube-server check-config`: what `serve` would say about a configuration, without starting."""

import argparse
import sys
from pathlib import Path

from synapse_like_config.errors import ConfigError
from synapse_like_config.load import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config-path",
        required=True,
        action="append",
        type=Path,
        metavar="FILE",
        help="several merge in order: a top level option in a later one replaces",
    )


def run(arguments: argparse.Namespace) -> int:
    try:
        loaded = load_config(arguments.config_path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    for warning in loaded.warnings:
        print(f"warning: {warning}")
    for missing in loaded.missing_files:
        print(f"note: {missing.key}: {missing.path} does not exist; the first start makes it")
    print(f"The configuration of {loaded.config.server.server_name} is good.")
    return 0
