"""Account data: last writer per user, room and type."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from storage.account_data import AccountDataRepository, SetAccountData
from storage.change import Change
from storage.database import Transaction
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key


def _read(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    repository = AccountDataRepository()
    rows = {key: repository.find(tx, *key) for key in keys}
    return {key: orjson.loads(row.content) for key, row in rows.items() if row is not None}


def _write(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    user_id, room_id, event_type = key
    # Clients delete account data by setting it to an empty object; there is no other deletion.
    return (SetAccountData(user_id, room_id, event_type, orjson.dumps({} if value is None else value)),)


ACCOUNT_DATA: Final = LastWriterKind(SetAccountData.kind, _read, _write)
