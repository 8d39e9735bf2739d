"""Keys of sites that were taken out: whoever says so last, so that all publish the same document."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.change import Change
from storage.database import Transaction
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key
from storage.site_keys import OldSiteKey, OldSiteKeyIs, SiteKeysRepository


def _read(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    found = {key: SiteKeysRepository().find_old(tx, key[0]) for key in keys}
    return {
        key: {"key": old.verify_key, "expired_ts": old.expired_ts}
        for key, old in found.items()
        if old is not None
    }


def _write(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    old = None if value is None else OldSiteKey(key[0], str(value["key"]), int(value["expired_ts"]))
    return (OldSiteKeyIs(key[0], old),)


OLD_SITE_KEYS: Final = LastWriterKind(OldSiteKeyIs.kind, _read, _write, is_of_user=False)
