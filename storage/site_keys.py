"""The keys of sites that were taken out: published as old keys from then on, the same by all sites."""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OldSiteKey:
    """`verify_key` is unpadded Base64; `expired_ts` milliseconds since 1970."""

    key_id: str
    verify_key: str
    expired_ts: int


class SiteKeysRepository:
    def get_present(self, tx: Transaction) -> Mapping[str, str]:
        """By ID, what the configuration named when it was last noted."""
        return {row[0]: row[1] for row in tx.all("SELECT key_id, verify_key FROM site_keys")}

    def get_old(self, tx: Transaction) -> Sequence[OldSiteKey]:
        rows = tx.all("SELECT key_id, verify_key, expired_ts FROM old_site_keys ORDER BY key_id")
        return [OldSiteKey(*row) for row in rows]

    def find_old(self, tx: Transaction, key_id: str) -> OldSiteKey | None:
        row = tx.one("SELECT key_id, verify_key, expired_ts FROM old_site_keys WHERE key_id = ?", (key_id,))
        return None if row is None else OldSiteKey(*row)


@dataclass(frozen=True, slots=True)
class NoteSiteKeys(Change):
    """The configuration names these keys (ID and key, Base64) of other sites. Those that it does not name any more are
    old from `expired_ts` on, unless another site has said so before.
    """

    kind: ClassVar[str] = "site_keys"
    area: ClassVar[str] = "site_keys"

    present: tuple[tuple[str, str], ...]
    expired_ts: int

    def key(self) -> tuple[str, ...]:
        return ()

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        assert isinstance(result, tuple)
        return [(OldSiteKeyIs.kind, (key_id,)) for key_id in result]

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> Sequence[object]:
        return [tuple(_note(tx, dict(change.present), change.expired_ts)) for _, change in changes]


def _note(tx: WriteTransaction, present: Mapping[str, str], expired_ts: int) -> list[str]:
    """The IDs of the keys of which it is news that they are old, or that they are not."""
    repository = SiteKeysRepository()
    before = repository.get_present(tx)
    touched = []
    for key_id, key in before.items():
        # The same key ID with another key: what the old one signed cannot be told apart.
        if key_id not in present and repository.find_old(tx, key_id) is None:
            _write(tx, OldSiteKey(key_id, key, expired_ts))
            touched.append(key_id)
    for key_id in present:
        if key_id not in before and repository.find_old(tx, key_id) is not None:
            tx.run("DELETE FROM old_site_keys WHERE key_id = ?", (key_id,))
            touched.append(key_id)
    tx.run("DELETE FROM site_keys")
    tx.many("INSERT INTO site_keys (key_id, verify_key) VALUES (?, ?)", sorted(present.items()))
    return touched


@dataclass(frozen=True, slots=True)
class OldSiteKeyIs(Change):
    """Another site says that a key is old; or, with `old` None, that it is not."""

    kind: ClassVar[str] = "old_site_key"
    area: ClassVar[str] = "site_keys"

    key_id: str
    old: OldSiteKey | None

    def key(self) -> tuple[str, ...]:
        return (self.key_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            if change.old is None:
                tx.run("DELETE FROM old_site_keys WHERE key_id = ?", (change.key_id,))
            else:
                _write(tx, change.old)


def _write(tx: WriteTransaction, old: OldSiteKey) -> None:
    tx.run(
        "INSERT INTO old_site_keys (key_id, verify_key, expired_ts) VALUES (?, ?, ?)"
        " ON CONFLICT (key_id) DO UPDATE SET verify_key = excluded.verify_key, expired_ts = excluded.expired_ts",
        (old.key_id, old.verify_key, old.expired_ts),
    )
