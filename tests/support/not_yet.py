"""The list of operations that the server does not have yet, `tests/integration/not_yet.txt`.

A line is `METHOD /path`; a line that starts with `#` is the reason for those that follow it.
"""

from collections.abc import Mapping

from tests.support.openapi import CHECKOUT

NOT_YET_PATH = CHECKOUT / "tests" / "integration" / "not_yet.txt"


def read_not_yet() -> Mapping[str, str]:
    """The reason for each `METHOD /path`."""
    reasons: dict[str, str] = {}
    reason = ""
    for line in NOT_YET_PATH.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("#"):
            reason = text.removeprefix("#").strip()
        elif text:
            reasons[text] = reason
    return reasons
