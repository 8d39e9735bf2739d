"""Pushers: where a user's notifications go. They are kept here; sending to push gateways is a follower of the log.

Source: client-server API, `POST /pushers/set`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from popcube_server.services.errors import BadJson, InvalidParam, MissingParam, TooLarge
from popcube_server.services.requester import Requester
from storage.change import Change
from storage.committer import Committer
from storage.database import Database
from storage.pushers import DeletePusher, DeletePushersOfDevices, PushersRepository, SetPusher
from synapse_like_config.lazy_dataclasses import dataclass

GATEWAY_PATH: Final = "/_matrix/push/v1/notify"
MAX_PUSHKEY_BYTES: Final = 512
MAX_APP_ID_LENGTH: Final = 64
MAX_TEXT_LENGTH: Final = 1_024
MAX_DATA_BYTES: Final = 8 * 1024

_NEEDED_TEXTS: Final = ("app_display_name", "device_display_name", "lang")


@dataclass(frozen=True, slots=True)
class _PusherId:
    app_id: str
    pushkey: str


class Pushers:
    """A user's pushers."""

    def __init__(
        self,
        database: Database,
        repository: PushersRepository,
        committer: Committer,
    ) -> None:
        self._database = database
        self._repository = repository
        self._committer = committer

    async def get(self, requester: Requester) -> list[dict[str, Any]]:
        """As clients set them."""
        rows = await self._database.read(lambda tx: self._repository.get_of_user(tx, requester.user_id))
        return [orjson.loads(content) for content in rows]

    async def set(self, requester: Requester, body: Mapping[str, Any]) -> None:
        """Set one, or delete it if its `kind` is null. Raises `MissingParam`, `BadJson`, `InvalidParam`, `TooLarge`."""
        pusher_id = _parse_id(body)
        if "kind" not in body:
            raise MissingParam("'kind' is missing.")
        if body["kind"] is None:
            # "If `kind` is `null`, the pusher with this `app_id` and `pushkey` for this user is deleted."
            await self._committer.commit(DeletePusher(requester.user_id, pusher_id.app_id, pusher_id.pushkey))
            return
        content = _parse_content(pusher_id, body)
        append = body.get("append", False)
        if not isinstance(append, bool):
            raise BadJson("'append' must be true or false.")
        await self._committer.commit(
            SetPusher(
                requester.user_id,
                pusher_id.app_id,
                pusher_id.pushkey,
                requester.device_id,
                orjson.dumps(content),
                # "Otherwise, the homeserver must remove any other pushers with the same App ID and pushkey for
                # different users."
                only_this_user=not append,
            )
        )


class PusherCleanup:
    """Gives the changes to commit together with the deletion of devices."""

    def changes_for(self, user_id: str, device_ids: Iterable[str]) -> Sequence[Change]:
        """A pusher ends with the device whose access token set it."""
        devices = tuple(device_ids)
        return (DeletePushersOfDevices(user_id, devices),) if devices else ()


def _parse_id(body: Mapping[str, Any]) -> _PusherId:
    app_id, pushkey = _text(body, "app_id"), _text(body, "pushkey")
    if not app_id or len(app_id) > MAX_APP_ID_LENGTH:
        raise InvalidParam(f"'app_id' must have 1 to {MAX_APP_ID_LENGTH} characters.")
    if not pushkey or len(pushkey.encode()) > MAX_PUSHKEY_BYTES:
        raise InvalidParam(f"'pushkey' must have 1 to {MAX_PUSHKEY_BYTES} bytes.")
    return _PusherId(app_id, pushkey)


def _parse_content(pusher_id: _PusherId, body: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(body["kind"], str):
        raise BadJson("'kind' must be a string or null.")
    # NOTSPEC: `email` is the other kind; this server sends no mail about notifications.
    if body["kind"] != "http":
        raise InvalidParam("The only kind of pusher here is http.")
    content: dict[str, Any] = {"kind": "http", "app_id": pusher_id.app_id, "pushkey": pusher_id.pushkey}
    for name in _NEEDED_TEXTS:
        content[name] = _bounded_text(body, name)
    if body.get("profile_tag") is not None:
        content["profile_tag"] = _bounded_text(body, "profile_tag")
    content["data"] = _parse_data(body)
    return content


def _parse_data(body: Mapping[str, Any]) -> Mapping[str, Any]:
    data = body.get("data")
    if data is None:
        raise MissingParam("'data' is missing.")
    if not isinstance(data, dict):
        raise BadJson("'data' must be an object.")
    if len(orjson.dumps(data)) > MAX_DATA_BYTES:
        raise TooLarge(f"'data' may have at most {MAX_DATA_BYTES} bytes.")
    url = data.get("url")
    if url is None:
        raise MissingParam("'data.url' is missing.")
    if not isinstance(url, str):
        raise BadJson("'data.url' must be a string.")
    _check_url(url)
    if "format" in data and not isinstance(data["format"], str):
        raise BadJson("'data.format' must be a string.")
    return data


def _check_url(url: str) -> None:
    # "MUST be an HTTPS URL with a path of `/_matrix/push/v1/notify`."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidParam("'data.url' is not a URL.") from None
    if parts.scheme != "https" or not host or parts.path != GATEWAY_PATH or parts.query or parts.fragment:
        raise InvalidParam(f"'data.url' must be an https URL that ends in {GATEWAY_PATH}.")
    if parts.username is not None or parts.password is not None:
        raise InvalidParam("'data.url' must not have a user name or a password.")


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        raise MissingParam(f"'{name}' is missing.")
    if not isinstance(value, str):
        raise BadJson(f"'{name}' must be a string.")
    return value


def _bounded_text(body: Mapping[str, Any], name: str) -> str:
    value = _text(body, name)
    if len(value) > MAX_TEXT_LENGTH:
        raise InvalidParam(f"'{name}' may have at most {MAX_TEXT_LENGTH} characters.")
    return value
