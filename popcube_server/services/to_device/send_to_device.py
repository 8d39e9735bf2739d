"""Send a message to devices: kept for each until it has it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import orjson

from federation.room_dag.identifiers import domain_of, is_user_id
from federation.rooms.draft import TransactionKey
from popcube_server.services.errors import InvalidParam, TooLarge
from popcube_server.services.keys.local_keys import LocalKeys
from popcube_server.services.platform import Platform
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.transactions import Transactions
from storage.change import Change
from storage.committer import Committer
from storage.log import Log
from storage.to_device import Device, ToDeviceMessage
from storage.to_device_sorting import send_on_only_site, send_on_several_sites
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
        local_keys: LocalKeys,
        log: Log,
        committer: Committer,
        transactions: Transactions,
        remote: RemoteInboxes,
        key_requests: RateLimiter,
        is_only_site: bool,
    ) -> None:
        self._server_name = server_name
        self._platform = platform
        self._local_keys = local_keys
        self._log = log
        self._committer = committer
        self._transactions = transactions
        self._remote = remote
        self._key_requests = key_requests
        self._sent = send_on_only_site if is_only_site else send_on_several_sites

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
        # Devices that are in memory are there at this position, and what is read is newer.
        known_at = self._log.position
        local: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        remote: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        for user_id, devices in messages.items():
            # Who is in memory has an account here: there is nothing to check.
            if self._local_keys.has(user_id):
                local[user_id] = devices
            # Who cannot exist gets nothing, like a device that does not exist.
            elif is_user_id(user_id):
                (local if domain_of(user_id) == self._server_name else remote)[user_id] = devices
        users = await self._local_keys.get(local)
        existing = {user_id: user.device_ids for user_id, user in users.items()}
        found = make_messages(sender, event_type, local, existing)
        changes: list[Change] = [*self._sent(found, known_at)] if found else []
        if remote:
            changes += self._remote.changes_for(sender, event_type, remote)
        return changes


def make_messages(
    sender: str, event_type: str, messages: Messages, existing: Mapping[str, Collection[str]]
) -> tuple[ToDeviceMessage, ...]:
    """One for each different content; `existing`: devices by user ID. Raises `TooLarge`."""
    recipients: dict[bytes, list[Device]] = {}
    count = 0
    for user_id, contents in messages.items():
        devices = existing.get(user_id, ())
        for device_id, content in contents.items():
            if device_id in devices:
                recipients.setdefault(orjson.dumps(content), []).append((user_id, device_id))
                count += 1
        if ALL_DEVICES in contents:
            # A device that is named gets what is for it, not what is for all.
            unnamed = [(user_id, device_id) for device_id in devices if device_id not in contents]
            if unnamed:
                recipients.setdefault(orjson.dumps(contents[ALL_DEVICES]), []).extend(unnamed)
                count += len(unnamed)
        if count > MAX_RECIPIENTS:
            raise _too_many()
    beginning = b'{"type":%b,"sender":%b,"content":' % (orjson.dumps(event_type), orjson.dumps(sender))
    return tuple(
        ToDeviceMessage(_event(beginning, content), tuple(devices)) for content, devices in recipients.items()
    )


def _event(beginning: bytes, content: bytes) -> bytes:
    event = b"%b%b}" % (beginning, content)
    if len(event) > MAX_EVENT_BYTES:
        raise TooLarge(f"A message may have at most {MAX_EVENT_BYTES} bytes.")
    return event


def _too_many() -> TooLarge:
    return TooLarge(f"Send to at most {MAX_RECIPIENTS} devices at a time.")
