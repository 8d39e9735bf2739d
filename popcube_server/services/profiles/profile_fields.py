"""Which fields a profile may have, and what may be in them."""

import re
from typing import Any

import orjson

from federation.room_dag.canonical_json import compact
from popcube_server.services.errors import BadJson, InvalidParam, WithCode

MAX_KEY_BYTES = 255
MAX_DISPLAY_NAME_CHARACTERS = 256
MAX_AVATAR_URL_CHARACTERS = 1000
MAX_TIME_ZONE_CHARACTERS = 255
# Appendices, "Common Namespaced Identifier Grammar".
_KEY = re.compile(r"[a-z][a-z0-9_.-]*")
_SINGLE_WORDS = ("avatar_url", "displayname")
_MXC = re.compile(r"mxc://[^/\s]+/[A-Za-z0-9_-]+")


def check_field_name(name: str) -> None:
    if len(name.encode()) > MAX_KEY_BYTES:
        raise WithCode(
            400, "M_KEY_TOO_LARGE", f"A profile field's name may have at most {MAX_KEY_BYTES} bytes."
        )
    # "either avatar_url, displayname, m.tz, or a custom field following the Common Namespaced Identifier Grammar"
    if name not in _SINGLE_WORDS and ("." not in name or not _KEY.fullmatch(name)):
        raise InvalidParam("This is not the name of a profile field: such as org.example.job.")


def encode_field(name: str, value: Any) -> bytes | None:
    """The value as JSON to store; None if it takes the field away. Raises what is wrong with it."""
    if name in ("displayname", "avatar_url"):
        # COMPAT: before custom fields, null and the empty string were how a name or an avatar was taken away.
        if value is None or value == "":
            return None
        _check_text(name, value)
    elif name == "m.tz" and not (isinstance(value, str) and len(value) <= MAX_TIME_ZONE_CHARACTERS):
        raise InvalidParam("'m.tz' must be the name of a time zone.")
    return compact(orjson.dumps(value))


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise BadJson(f"'{name}' must be a string.")
    if name == "displayname" and len(value) > MAX_DISPLAY_NAME_CHARACTERS:
        raise InvalidParam(f"A display name may have at most {MAX_DISPLAY_NAME_CHARACTERS} characters.")
    if name == "avatar_url" and (len(value) > MAX_AVATAR_URL_CHARACTERS or not _MXC.fullmatch(value)):
        raise InvalidParam("'avatar_url' must be an mxc:// address.")
