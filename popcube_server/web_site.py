"""The web server's part of a listener."""

from twisted.web.server import Site


class QuietSite(Site):
    """Without a log of its own: `rest/resource.py` logs requests, without their queries, in which tokens may stand."""

    # `_logFile` stays None, so that no line is made for a request, and no timer runs for the lines' times.
    def startFactory(self) -> None:  # noqa: N802
        pass

    def stopFactory(self) -> None:  # noqa: N802
        pass
