"""Push rules: last writer per user. Pushers: last writer per user, application and pushkey."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from storage.change import Change
from storage.database import Transaction
from storage.push_rules import MergePushRules, PushRulesRepository
from storage.pushers import DeletePusher, PushersRepository, SetPusher
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key


def _read_rules(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    repository = PushRulesRepository()
    rows = {key: repository.find(tx, key[0]) for key in keys}
    return {key: orjson.loads(row.rules) for key, row in rows.items() if row is not None}


def _write_rules(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    # There is no deletion: rules that are the default ones again are an empty object.
    return (MergePushRules(key[0], orjson.dumps({} if value is None else value), 0),)


def _read_pushers(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    repository = PushersRepository()
    found = {key: repository.find(tx, *key) for key in keys}
    return {
        key: {"device_id": each[0], "content": orjson.loads(each[1])}
        for key, each in found.items()
        if each is not None
    }


def _write_pusher(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    user_id, app_id, pushkey = key
    if value is None:
        return (DeletePusher(user_id, app_id, pushkey),)
    content = orjson.dumps(value["content"])
    # Whose pushers it ended is told by records of their own.
    return (SetPusher(user_id, app_id, pushkey, value["device_id"], content, False),)


NOTIFICATIONS: Final = (
    LastWriterKind(MergePushRules.kind, _read_rules, _write_rules),
    LastWriterKind(SetPusher.kind, _read_pushers, _write_pusher),
)
