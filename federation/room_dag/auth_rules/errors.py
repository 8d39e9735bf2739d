"""The one error of the authorization rules."""


class NotAllowed(Exception):
    """The authorization rules reject the event; `reason` is a sentence for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
