"""`popcube-server register-user`: create an account.

Through the running server, if one listens where the configuration says, by its shared-secret endpoint: so it need
not be stopped. Else straight into the database, by the same services.
"""

import argparse
import sys
from pathlib import Path

from popcube_server.commands.direct_registration import register_directly
from popcube_server.commands.remote_registration import (
    NobodyListens,
    RegistrationRefused,
    register_remotely,
)
from popcube_server.commands.wanted_account import WantedAccount
from popcube_server.services.errors import Refusal
from storage.engines.engine import StorageError
from storage.migrate import SchemaTooNew
from synapse_like_config.config import ServerConfig
from synapse_like_config.errors import ConfigError
from synapse_like_config.load import load_config


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
    parser.add_argument("-u", "--user", required=True, metavar="NAME", help="the name, without @ and server")
    password = parser.add_mutually_exclusive_group(required=True)
    password.add_argument("-p", "--password", help="the password")
    password.add_argument(
        "--password-file", type=Path, metavar="FILE", help="a file that holds the password and nothing else"
    )
    parser.add_argument("--display-name", metavar="TEXT", help="the name that others see (default: NAME)")
    parser.add_argument("-a", "--admin", action="store_true", help="make the account a server administrator")


def run(arguments: argparse.Namespace) -> int:
    try:
        config = load_config(arguments.config_path).config
        wanted = WantedAccount(arguments.user, _password(arguments), arguments.display_name, arguments.admin)
        print(f"Created {_register(config, wanted)}")
    except (ConfigError, OSError, StorageError, SchemaTooNew, RegistrationRefused) as error:
        print(error, file=sys.stderr)
        return 1
    except Refusal as refusal:
        print(refusal.message, file=sys.stderr)
        return 1
    return 0


def _password(arguments: argparse.Namespace) -> str:
    if arguments.password_file is None:
        return str(arguments.password)
    return str(arguments.password_file.read_text(encoding="utf-8").rstrip("\r\n"))


def _register(config: ServerConfig, wanted: WantedAccount) -> str:
    try:
        return register_remotely(config, wanted)
    except NobodyListens:
        return register_directly(config, wanted)
