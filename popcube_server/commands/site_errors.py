"""What `popcube-server site` says when it cannot go on."""


class SiteCommandFailed(Exception):
    """The text is for the person at the keyboard."""
