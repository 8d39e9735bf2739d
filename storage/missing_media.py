"""Files of our own media that this site knows of and has not got, and files that it has to be rid of.

Only organisations on several sites have any: the record of an upload comes over the link, its file is fetched.
"""

from collections.abc import Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MissingFile:
    """What is to be fetched."""

    file_key: str
    size_bytes: int
    sha256: bytes
    tries: int
    """How often no site that answered had it."""


@dataclass(frozen=True, slots=True)
class MissingCount:
    files: int
    size_bytes: int


class MissingMediaRepository:
    def list_due(self, tx: Transaction, now_ms: int, limit: int) -> list[MissingFile]:
        """Those that may be tried now, the newest uploads first: old ones have waited already."""
        rows = tx.all(
            "SELECT missing_media.file_key, media.size_bytes, media.sha256, missing_media.tries FROM missing_media"
            " JOIN media ON media.file_key = missing_media.file_key WHERE missing_media.retry_ms <= ?"
            " ORDER BY missing_media.position DESC, missing_media.file_key LIMIT ?",
            (now_ms, limit),
        )
        return [MissingFile(row[0], row[1], bytes(row[2]), row[3]) for row in rows]

    def find_next_retry_ms(self, tx: Transaction) -> int | None:
        """When the next file may be tried; None if there is none."""
        retry_ms: int | None = tx.value("SELECT MIN(retry_ms) FROM missing_media")
        return retry_ms

    def count(self, tx: Transaction) -> MissingCount:
        row = tx.all("SELECT COUNT(*), COALESCE(SUM(size_bytes), 0) FROM missing_media")[0]
        return MissingCount(int(row[0]), int(row[1]))

    def list_dropped(self, tx: Transaction, limit: int) -> list[str]:
        """Keys of files that nothing refers to any more."""
        return [row[0] for row in tx.all("SELECT file_key FROM dropped_media_files LIMIT ?", (limit,))]


def miss_everything(tx: WriteTransaction) -> None:
    """This database is a copy of another site's, without any of its files."""
    tx.run("DELETE FROM missing_media")
    tx.run(
        "INSERT INTO missing_media (file_key, size_bytes, position, tries, retry_ms)"
        " SELECT file_key, size_bytes, position, 0, 0 FROM media WHERE file_key IS NOT NULL"
    )


@dataclass(frozen=True, slots=True)
class HaveMediaFile(Change):
    """A file was fetched. The result is whether there still is media that it is the file of."""

    kind: ClassVar[str] = "missing_media"
    area: ClassVar[str] = "media"
    logged: ClassVar[bool] = False

    file_key: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[bool]:
        keys = [change.file_key for _, change in changes]
        tx.run("DELETE FROM missing_media WHERE file_key IN (??)", (keys,))
        wanted = {row[0] for row in tx.all("SELECT file_key FROM media WHERE file_key IN (??)", (keys,))}
        return [key in wanted for key in keys]


@dataclass(frozen=True, slots=True)
class MissMediaFile(Change):
    """A file of our own media is not in the store: to be fetched, but not before `retry_ms`, after so many tries."""

    kind: ClassVar[str] = "missing_media"
    area: ClassVar[str] = "media"
    logged: ClassVar[bool] = False

    file_key: str
    tries: int
    retry_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            row = tx.one("SELECT size_bytes, position FROM media WHERE file_key = ?", (change.file_key,))
            if row is not None:
                tx.run(
                    "INSERT INTO missing_media (file_key, size_bytes, position, tries, retry_ms)"
                    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (file_key) DO UPDATE SET"
                    " tries = excluded.tries, retry_ms = excluded.retry_ms",
                    (change.file_key, row[0], row[1], change.tries, change.retry_ms),
                )


@dataclass(frozen=True, slots=True)
class MissNothingForLong(Change):
    """What is missing is due at once, however often it was tried: there is a site that was not asked yet."""

    kind: ClassVar[str] = "missing_media"
    area: ClassVar[str] = "media"
    logged: ClassVar[bool] = False

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        tx.run("UPDATE missing_media SET tries = 0, retry_ms = 0 WHERE retry_ms > 0")


@dataclass(frozen=True, slots=True)
class ForgetDroppedFiles(Change):
    """These were deleted."""

    kind: ClassVar[str] = "missing_media"
    area: ClassVar[str] = "media"
    logged: ClassVar[bool] = False

    file_keys: tuple[str, ...]

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            tx.run("DELETE FROM dropped_media_files WHERE file_key IN (??)", (change.file_keys,))
