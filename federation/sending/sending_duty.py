"""That this site sends to other servers, and under which name it does."""

from typing import Final

from federation.sites.duties.duty import Always, Hold
from synapse_like_config.lazy_dataclasses import dataclass

DUTY: Final = "federation"
"""To all servers. That there is one duty for all is known here only."""


@dataclass(frozen=True, slots=True)
class SendingDuty:
    """`log` is the ID of this site's log; empty on one site."""

    hold: Hold
    log: str = ""

    def is_held(self) -> bool:
        return self.hold.is_held()

    def transaction_id(self, sender: int, number: int) -> str:
        """Never used twice, not by another sender or site either: a repeat is not looked at by who receives it."""
        if not self.log:
            return f"{sender}.{number}"
        return f"{self.hold.epoch}.{self.log}.{sender}.{number}"


ALONE: Final = SendingDuty(Always())
