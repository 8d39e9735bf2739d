"""Send a message to devices: kept for each until it has it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from federation.room_dag.identifiers import domain_of
from federation.rooms.draft import TransactionKey
from popcube_server.services.errors import InvalidParam, TooLarge
from popcube_server.services.platform import Platform
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.transactions import Transactions
from storage.change import Change
from storage.committer import Committer
from storage.database import Database
from storage.device_keys import DeviceKeysRepository
from storage.to_device import Device, SendToDevice, ToDeviceMessage
from storage.transactions import RecordTransaction

MAX_RECIPIENTS = 10_000
"""Devices that one request may reach."""
MAX_EVENT_BYTES = 65_536
MAX_TYPE_BYTES = 255
ALL_DEVICES = "*"
KEY_REQUEST = "m.room_key_request"

Messages = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Contents by user ID and device ID; `*` is every device of the user."""


class RemoteInboxes(Protocol):
    """Takes messages for users of other servers."""

    def changes_for(self, sender: str, event_type: str, messages: Messages) -> Sequence[Change]:
        """What to commit so that they are sent."""


class SendToDevices:
    """PUT /sendToDevice."""

    def __init__(
        self,
        server_name: str,
        platform: Platform,
        database: Database,
        committer: Committer,
        transactions: Transactions,
        remote: RemoteInboxes,
        key_requests: RateLimiter,
    ) -> None:
        self._server_name = server_name
        self._platform = platform
        self._database = database
        self._committer = committer
        self._transactions = transactions
        self._remote = remote
        self._key_requests = key_requests
        self._device_keys = DeviceKeysRepository()

    async def send(self, requester: Requester, event_type: str, txn_id: str, messages: Messages) -> None:
        """Once per transaction ID: a repeat does nothing. Devices that do not exist are passed over."""
        if not event_type or len(event_type.encode()) > MAX_TYPE_BYTES:
            raise InvalidParam(f"An event type has 1 to {MAX_TYPE_BYTES} bytes.")
        if sum(len(devices) for devices in messages.values()) > MAX_RECIPIENTS:
            raise _too_many()

        async def work(key: TransactionKey) -> str:
            if event_type == KEY_REQUEST:
                self._key_requests.spend((requester.user_id, requester.device_id))
            changes = await self._changes(requester.user_id, event_type, messages)
            record = RecordTransaction(key.scope, key.request, "", self._platform.now_ms())
            await self._committer.commit(*changes, record)
            return ""

        await self._transactions.once(requester, ("sendToDevice", event_type), txn_id, work)

    async def _changes(self, sender: str, event_type: str, messages: Messages) -> list[Change]:
        local = {user: devices for user, devices in messages.items() if domain_of(user) == self._server_name}
        remote = {user: devices for user, devices in messages.items() if user not in local}
        changes: list[Change] = []
        names = await self._database.read(lambda tx: self._device_keys.get_device_names(tx, list(local)))
        found = make_messages(sender, event_type, local, names)
        if found:
            changes.append(SendToDevice(found))
        if remote:
            changes += self._remote.changes_for(sender, event_type, remote)
        return changes


def make_messages(
    sender: str, event_type: str, messages: Messages, existing: Mapping[str, Mapping[str, object]]
) -> tuple[ToDeviceMessage, ...]:
    """One for each different content; `existing`: devices by user ID. Raises `TooLarge`."""
    recipients: dict[bytes, list[Device]] = {}
    count = 0
    for user_id, contents in messages.items():
        devices = existing.get(user_id, {})
        # A device that is named gets what is for it, not what is for all.
        wanted: dict[str, Mapping[str, Any]] = {}
        if ALL_DEVICES in contents:
            wanted.update((device_id, contents[ALL_DEVICES]) for device_id in devices)
        wanted.update((device_id, content) for device_id, content in contents.items() if device_id in devices)
        # The same content object is encoded once, however many devices it goes to.
        encoded: dict[int, bytes] = {}
        for device_id, content in wanted.items():
            if id(content) not in encoded:
                encoded[id(content)] = _event(sender, event_type, content)
            recipients.setdefault(encoded[id(content)], []).append((user_id, device_id))
        count += len(wanted)
        if count > MAX_RECIPIENTS:
            raise _too_many()
    return tuple(ToDeviceMessage(event, tuple(devices)) for event, devices in recipients.items())


def _event(sender: str, event_type: str, content: Mapping[str, Any]) -> bytes:
    event = orjson.dumps({"type": event_type, "sender": sender, "content": content})
    if len(event) > MAX_EVENT_BYTES:
        raise TooLarge(f"A message may have at most {MAX_EVENT_BYTES} bytes.")
    return event


def _too_many() -> TooLarge:
    return TooLarge(f"Send to at most {MAX_RECIPIENTS} devices at a time.")
