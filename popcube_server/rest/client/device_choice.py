"""What register and login have in common: the client's wishes about its device, and the answer with tokens."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.parse import find_string, get_bool
from popcube_server.services.auth.start_session import DeviceChoice, NewTokens
from popcube_server.services.errors import InvalidParam


def parse_device_choice(body: Mapping[str, Any]) -> DeviceChoice:
    device_id = find_string(body, "device_id")
    if device_id is not None and "\x00" in device_id:
        raise InvalidParam("A device ID may not have U+0000.")
    return DeviceChoice(
        device_id,
        find_string(body, "initial_device_display_name"),
        get_bool(body, "refresh_token", False),
    )


def tokens_answer(tokens: NewTokens, server_name: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "user_id": tokens.user_id,
        "access_token": tokens.access_token,
        "device_id": tokens.device_id,
        # COMPAT: deprecated; old clients read it.
        "home_server": server_name,
    }
    if tokens.refresh_token is not None:
        answer["refresh_token"] = tokens.refresh_token
    if tokens.expires_in_ms is not None:
        answer["expires_in_ms"] = tokens.expires_in_ms
    return answer
