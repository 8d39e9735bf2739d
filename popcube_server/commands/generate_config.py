"""`popcube-server generate-config`: a configuration and a signing key for a new server."""

import argparse
import os
import sys
from pathlib import Path

from synapse_like_config.errors import ConfigError
from synapse_like_config.generate import render_config, render_signing_key, signing_key_path
from synapse_like_config.load import parse_config
from synapse_like_config.secret_files import write_private_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server-name", required=True, metavar="NAME", help="the domain in user IDs; cannot be changed later"
    )
    parser.add_argument(
        "--data-directory", required=True, type=Path, metavar="DIR", help="for the database, media and keys"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="instead of standard output")
    parser.add_argument(
        "--open-registration", action="store_true", help="let anybody make an account, to try things out"
    )
    parser.add_argument("--port", type=int, default=8008, help="on 127.0.0.1 (default: 8008)")


def run(arguments: argparse.Namespace) -> int:
    directory = arguments.data_directory.absolute()
    text = render_config(
        arguments.server_name,
        directory,
        open_registration=arguments.open_registration,
        random_bytes=os.urandom,
        port=arguments.port,
    )
    try:
        # A wrong name or port should be told now, not at the first start.
        parse_config([("the new configuration", text)], directory)
        directory.mkdir(parents=True, exist_ok=True)
        _write_signing_key(signing_key_path(arguments.server_name, directory))
        if arguments.output is None:
            sys.stdout.write(text)
        else:
            write_private_file(arguments.output, text)
    except FileExistsError as error:
        print(f"{error.filename} exists already and was left as it is", file=sys.stderr)
        return 1
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.output is not None:
        print(f"Wrote {arguments.output}. Start the server: popcube-server serve -c {arguments.output}")
    return 0


def _write_signing_key(path: Path) -> None:
    # A key that is there may have signed events already: it stays.
    if not path.exists():
        write_private_file(path, render_signing_key(os.urandom(32), os.urandom(3)))
