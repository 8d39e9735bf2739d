"""An invite by e-mail address or telephone number, as requests of two modules have it (`Invite3pid`)."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.parse import get_string
from popcube_server.services.rooms.invite_by_address import AddressInvite


def address_invite(body: Mapping[str, Any]) -> AddressInvite:
    """Raises `MissingParam`, `BadJson`."""
    keys = ("id_server", "id_access_token", "medium", "address")
    id_server, id_access_token, medium, address = (get_string(body, key) for key in keys)
    return AddressInvite(id_server, id_access_token, medium, address)
