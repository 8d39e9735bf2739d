"""What this server publishes about itself for other servers."""

from collections.abc import Mapping
from typing import Any

from federation.keys.own_keys import OwnKeys


class OwnKeyDocument:
    """The keys of this server, for whoever asks."""

    def __init__(self, own: OwnKeys) -> None:
        self._own = own

    def get(self) -> Mapping[str, Any]:
        """JSON, signed by every key in it."""
        return self._own.document()


def delegation_document(server_name: str) -> Mapping[str, Any] | None:
    """Where federation requests for this server go: to port 443 of its name, as they do for clients.

    None if the name has a port or is an address: nobody looks for a document then.
    """
    if ":" in server_name or server_name.replace(".", "").isdigit():
        return None
    return {"m.server": f"{server_name}:443"}
