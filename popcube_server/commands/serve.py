"""`popcube-server serve`: run the server in the foreground."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from popcube_server.app import run as run_server
from synapse_like_config.config import ServerConfig
from synapse_like_config.errors import ConfigError
from synapse_like_config.load import load_config
from synapse_like_config.secret_files import write_missing_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config-path",
        action="append",
        required=True,
        type=Path,
        metavar="FILE",
        help="a configuration file; later ones override earlier ones",
    )


def run(arguments: argparse.Namespace) -> int:
    try:
        loaded = load_config(arguments.config_path)
        if loaded.missing_files:
            # First start: keys and secrets that the configuration names get made.
            for missing in loaded.missing_files:
                write_missing_file(missing, os.urandom)
            loaded = load_config(arguments.config_path)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for warning in loaded.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    return run_server(loaded.config, lambda: _load_again(arguments.config_path))


def _load_again(paths: Sequence[Path]) -> ServerConfig:
    """Raises `ConfigError`."""
    loaded = load_config(paths)
    for missing in loaded.missing_files:
        # What was made at the start is never made anew under a server that runs.
        raise ConfigError(str(missing.path), 0, "", "this file is gone")
    return loaded.config
