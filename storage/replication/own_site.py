"""Whose this database is: what one site alone gives out or counts is of its log, and of no copy's."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.one_time_keys import OneTimeKey
from synapse_like_config.lazy_dataclasses import dataclass


def find_own_log(tx: Transaction) -> str:
    """The ID of this site's log; empty if the organisation has one site."""
    log: str | None = tx.value("SELECT log FROM own_site")
    return log or ""


def find_own_site(tx: Transaction) -> str:
    """The name of this site; empty if the organisation has one site."""
    site: str | None = tx.value("SELECT site FROM own_site")
    return site or ""


def become_site(tx: WriteTransaction, site: str, log: str, peers: Iterable[str]) -> None:
    """For the start, before anything else is written: make what the database says of itself true.

    If it was copied from another site, that one goes on giving out the keys that it holds.
    """
    row = tx.one("SELECT site, log FROM own_site")
    if row is None:
        tx.run("INSERT INTO own_site (site, log) VALUES (?, ?)", (site, log))
    elif row != (site, log):
        _give_back(tx, *row)
        tx.run("UPDATE own_site SET site = ?, log = ?", (site, log))
    # What this site held before it was rebuilt is lost.
    tx.run("DELETE FROM peer_one_time_keys WHERE site = ?", (tx.intern_one(site),))
    _lose_sites(tx, peers)


def _lose_sites(tx: WriteTransaction, peers: Iterable[str]) -> None:
    """What a site held that is none any more is lost."""
    present = set(tx.intern(peers).values())
    for (other,) in tx.all("SELECT DISTINCT site FROM peer_one_time_keys"):
        if other not in present:
            tx.run("DELETE FROM peer_one_time_keys WHERE site = ?", (other,))


def _give_back(tx: WriteTransaction, site: str, log: str) -> None:
    names = tx.intern((site, log))
    rows = tx.all("SELECT user_nid, device, algorithm, key_id, json FROM one_time_keys")
    tx.many(
        "INSERT INTO peer_one_time_keys (user_nid, device, digest, algorithm, key_id, site, log)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (
                user,
                device,
                OneTimeKey(algorithm.decode(), key_id.decode(), json).digest,
                algorithm,
                key_id,
                names[site],
                names[log],
            )
            for user, device, algorithm, key_id, json in rows
        ],
    )
    tx.run("DELETE FROM one_time_keys")
    # Messages keep the names that they have there.
    for table in ("to_device_inbox", "federation_to_device"):
        tx.run(
            f"UPDATE {table} SET log = ?, log_position = position WHERE log IS NULL",  # noqa: S608
            (names[log],),
        )
    tx.run("UPDATE reports SET log = ?, log_position = report WHERE log IS NULL", (names[log],))
    tx.run(
        "INSERT INTO registration_token_uses (token, log, completed)"
        " SELECT token, CAST(? AS BIGINT), completed FROM registration_tokens WHERE completed > 0"
        " ON CONFLICT DO NOTHING",
        (names[log],),
    )
    tx.run("UPDATE registration_tokens SET completed = 0")


@dataclass(frozen=True, slots=True)
class LoseSites(Change):
    """These are all peers from now on: the keys that others hold are lost."""

    kind: ClassVar[str] = "peer_sites"
    area: ClassVar[str] = "keys"

    peers: tuple[str, ...]

    def key(self) -> tuple[str, ...]:
        return self.peers

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            _lose_sites(tx, change.peers)


@dataclass(frozen=True, slots=True)
class SeePeerLog(Change):
    """A peer site says which its log is. If it had another one, the keys that it held then are lost."""

    kind: ClassVar[str] = "peer_log"
    area: ClassVar[str] = "keys"

    site: str
    log: str

    def key(self) -> tuple[str, ...]:
        return (self.site, self.log)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            site, log = tx.intern_one(change.site), tx.intern_one(change.log)
            tx.run("UPDATE peer_logs SET is_current = 0 WHERE site = ?", (site,))
            tx.run(
                "INSERT INTO peer_logs (site, log, is_current) VALUES (?, ?, ?)"
                " ON CONFLICT (site, log) DO UPDATE SET is_current = excluded.is_current",
                (site, log, 1),
            )
            tx.run(
                "DELETE FROM peer_one_time_keys WHERE site = ? AND log IN"
                " (SELECT log FROM peer_logs WHERE site = ? AND is_current = 0)",
                (site, site),
            )


def is_lost(tx: Transaction, site: str, log: str) -> bool:
    """Whether a site had this log and has another one now."""
    row = tx.one(
        "SELECT is_current FROM peer_logs WHERE site = ? AND log = ?", (tx.name_id(site), tx.name_id(log))
    )
    return row is not None and row[0] == 0
