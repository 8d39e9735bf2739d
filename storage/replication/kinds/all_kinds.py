"""Every kind of record that sites exchange."""

from collections.abc import Sequence
from typing import Final

from storage.replication.kinds.account_data import ACCOUNT_DATA
from storage.replication.kinds.profiles import PROFILES
from storage.replication.record import RecordKind

ALL_KINDS: Final[Sequence[RecordKind]] = (ACCOUNT_DATA, PROFILES)
