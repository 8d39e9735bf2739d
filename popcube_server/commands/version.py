"""`popcube-server version`."""

import argparse
import platform

from popcube_server.version import NAME, VERSION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(arguments: argparse.Namespace) -> int:
    print(f"{NAME} {VERSION} (Python {platform.python_version()})")
    return 0
