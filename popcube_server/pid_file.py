"""The file that tells others the number of the server's process (`pid_file`)."""

import os
from pathlib import Path


def write_pid_file(path: Path) -> None:
    """Raises `OSError`. What an earlier process left there is overwritten."""
    path.write_text(f"{os.getpid()}\n", "ascii")


def remove_pid_file(path: Path) -> None:
    """No error if it is gone, or belongs to another process by now."""
    try:
        if path.read_text("ascii").strip() == str(os.getpid()):
            path.unlink()
    except OSError:
        return
