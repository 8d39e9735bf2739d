"""Builds end-to-end encryption support: keys, their backup, and messages from device to device."""

from collections.abc import Sequence
from typing import Any

from popcube_server.building.core import Core
from popcube_server.rest.client.cross_signing import CrossSigning
from popcube_server.rest.client.key_backup import KeyBackupKeys, KeyBackupVersions
from popcube_server.rest.client.keys import Keys
from popcube_server.rest.client.to_device import ToDevice
from popcube_server.rest.client.user_interactive_auth import Confirmation
from popcube_server.services.bounded_cache import BoundedCache
from popcube_server.services.keys.backup.session_keys import BackupSessionKeys
from popcube_server.services.keys.backup.versions import BackupVersions
from popcube_server.services.keys.claim_keys import ClaimKeys
from popcube_server.services.keys.device_key_counts import KeyCounts
from popcube_server.services.keys.device_list_changes import DeviceListChanges
from popcube_server.services.keys.keys_elsewhere import KeysElsewhere
from popcube_server.services.keys.local_keys import LocalKeys
from popcube_server.services.keys.query_keys import QueryKeys
from popcube_server.services.keys.remote_keys import RemoteKeys
from popcube_server.services.keys.upload_cross_signing_keys import UploadCrossSigningKeys
from popcube_server.services.keys.upload_keys import UploadKeys
from popcube_server.services.keys.upload_signatures import UploadSignatures
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.rooms.transactions import Transactions
from popcube_server.services.rooms.user_rooms import UserRooms
from popcube_server.services.sync.places import Places
from popcube_server.services.to_device.inbox import ToDeviceInbox
from popcube_server.services.to_device.send_to_device import RemoteInboxes, SendToDevices
from synapse_like_config.lazy_dataclasses import dataclass

# Devices; an entry is a few hundred bytes.
KEY_COUNTS_CACHE_SIZE = 20_000
INBOX_CACHE_SIZE = 50_000
HELD_BYTES = 16 * 1024 * 1024
# Users; an entry is 1 kB for each device.
LOCAL_KEYS_CACHE_SIZE = 5_000


@dataclass(frozen=True, slots=True)
class KeyNeeds:
    """What keys use of other areas."""

    transactions: Transactions
    confirmation: Confirmation
    remote_keys: RemoteKeys
    keys_elsewhere: KeysElsewhere
    remote_inboxes: RemoteInboxes
    places: Places
    user_rooms: UserRooms


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """What /sync uses, and the endpoints."""

    key_counts: KeyCounts
    device_list_changes: DeviceListChanges
    inbox: ToDeviceInbox
    servlets: Sequence[object]
    parts: Sequence[ToDeviceInbox]


def build_keys(core: Core, needs: KeyNeeds) -> EndToEnd:
    database, committer, log = core.database, core.committer, core.log
    counts = KeyCounts(database, log, KEY_COUNTS_CACHE_SIZE)
    inbox = ToDeviceInbox(database, committer, log, core.platform, INBOX_CACHE_SIZE, HELD_BYTES)
    local_keys = LocalKeys(database, log, LOCAL_KEYS_CACHE_SIZE)
    _publish(core, "key_counts", counts.cache)
    _publish(core, "local_keys", local_keys.users)
    _publish(core, "to_device", inbox.ranges)
    clashed = core.metrics.counter(
        "one_time_key_clashes", "Uploads refused because another one-time key has the same ID."
    )
    changes = DeviceListChanges(database, log)
    key_requests = RateLimiter(core.config.rate_limits.rc_key_requests, core.platform.now_s)
    servlets = (
        Keys(
            UploadKeys(database, committer, counts, needs.user_rooms, clashed, core.sites is None),
            QueryKeys(core.server_name, local_keys, needs.remote_keys),
            ClaimKeys(core.server_name, database, committer, needs.remote_keys, needs.keys_elsewhere),
            changes,
            needs.places,
        ),
        CrossSigning(
            UploadCrossSigningKeys(database, committer),
            UploadSignatures(database, committer),
            needs.confirmation,
        ),
        KeyBackupVersions(BackupVersions(database, committer)),
        KeyBackupKeys(BackupSessionKeys(database, committer)),
        ToDevice(
            SendToDevices(
                core.server_name,
                core.platform,
                local_keys,
                log,
                committer,
                needs.transactions,
                needs.remote_inboxes,
                key_requests,
                core.sites is None,
            )
        ),
    )
    return EndToEnd(counts, changes, inbox, servlets, (inbox,))


def _publish(core: Core, name: str, cache: BoundedCache[Any, Any]) -> None:
    core.metrics.cache(name, lambda: len(cache), lambda: cache.hits, lambda: cache.misses)
