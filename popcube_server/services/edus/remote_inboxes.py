"""Messages from devices here to devices of other servers' users: what is to be written so that they are sent."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from federation.room_dag.identifiers import domain_of, is_user_id
from popcube_server.services.errors import TooLarge
from popcube_server.services.to_device.send_to_device import MAX_EVENT_BYTES, Messages
from storage.change import Change
from storage.to_device_remote import SendToRemoteDevices

MAX_EDU_BYTES: Final = 2 * MAX_EVENT_BYTES
"""A message to more devices than fit is cut into several."""


class OutgoingMessages:
    """The `RemoteInboxes` of a server that federates."""

    def changes_for(self, sender: str, event_type: str, messages: Messages) -> Sequence[Change]:
        """What to commit so that they are sent. Raises `TooLarge`."""
        by_server: dict[str, dict[str, Mapping[str, Mapping[str, Any]]]] = defaultdict(dict)
        for user_id, devices in messages.items():
            if is_user_id(user_id):
                by_server[domain_of(user_id)][user_id] = devices
        edus = tuple(
            (server, orjson.dumps({"sender": sender, "type": event_type, "messages": part}))
            for server, of_server in by_server.items()
            for part in _parts(of_server)
        )
        return [SendToRemoteDevices(edus)] if edus else []


def _parts(messages: Messages) -> Iterator[dict[str, dict[str, Any]]]:
    part: dict[str, dict[str, Any]] = {}
    size = 0
    for user_id, devices in messages.items():
        for device_id, content in devices.items():
            length = len(orjson.dumps(content)) + len(device_id) + len(user_id)
            if length > MAX_EVENT_BYTES:
                raise TooLarge(f"A message may have at most {MAX_EVENT_BYTES} bytes.")
            if part and size + length > MAX_EDU_BYTES:
                yield part
                part, size = {}, 0
            part.setdefault(user_id, {})[device_id] = content
            size += length
    if part:
        yield part
