"""Every kind of record that sites exchange."""

from collections.abc import Sequence
from typing import Final

from storage.replication.kinds.account_data import ACCOUNT_DATA
from storage.replication.kinds.accounts import ACCOUNTS
from storage.replication.kinds.devices import DEVICES
from storage.replication.kinds.directory import DIRECTORY
from storage.replication.kinds.duties import DUTY_PROGRESS
from storage.replication.kinds.ephemeral import EPHEMERAL
from storage.replication.kinds.federation import OUTSIDE
from storage.replication.kinds.filters import FILTERS
from storage.replication.kinds.key_backup import KEY_BACKUPS
from storage.replication.kinds.key_signatures import KEY_SIGNATURES
from storage.replication.kinds.keys import KEYS
from storage.replication.kinds.lags import LAGS
from storage.replication.kinds.logins import LOGINS
from storage.replication.kinds.media import MEDIA
from storage.replication.kinds.notifications import NOTIFICATIONS
from storage.replication.kinds.old_site_keys import OLD_SITE_KEYS
from storage.replication.kinds.one_time_keys import ONE_TIME_KEYS
from storage.replication.kinds.overlooked import OVERLOOKED_EVENTS
from storage.replication.kinds.profiles import PROFILES
from storage.replication.kinds.received import RECEIVED
from storage.replication.kinds.rooms import ROOMS
from storage.replication.kinds.sessions import SESSION
from storage.replication.kinds.to_device import MESSAGES
from storage.replication.record import RecordKind

ALL_KINDS: Final[Sequence[RecordKind]] = (
    *ACCOUNTS,
    *DEVICES,
    SESSION,
    PROFILES,
    ACCOUNT_DATA,
    *NOTIFICATIONS,
    FILTERS,
    *DIRECTORY,
    MEDIA,
    DUTY_PROGRESS,
    *OUTSIDE,
    KEY_SIGNATURES,
    OLD_SITE_KEYS,
    LAGS,
    OVERLOOKED_EVENTS,
    *KEYS,
    *KEY_BACKUPS,
    *ONE_TIME_KEYS,
    *MESSAGES,
    *ROOMS,
    *LOGINS,
    *RECEIVED,
    *EPHEMERAL,
)
