"""With which servers this one talks at all."""

from collections.abc import Sequence

from federation.transport.errors import NotFederated


class AllowedServers:
    """`federation_domain_whitelist`; None is everybody."""

    def __init__(self, own_name: str, whitelist: Sequence[str] | None) -> None:
        self._own_name = own_name
        self._names = None if whitelist is None else frozenset(name.lower() for name in whitelist)

    def is_allowed(self, server_name: str) -> bool:
        """Whether requests may come from it and go to it."""
        return self._names is None or server_name.lower() in self._names

    def check_destination(self, server_name: str) -> None:
        """Raise `NotFederated` if nothing may be sent there."""
        if server_name == self._own_name:
            raise NotFederated(server_name, "is this server itself")
        if not self.is_allowed(server_name):
            raise NotFederated(server_name, "is not a server that this one talks to")
