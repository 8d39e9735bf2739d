"""When media were looked at last, and deleting those that nobody looks at any more."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self, cast

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.media_store import REMOTE_PREFIX
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RemoteMediaId:
    """Another server's media."""

    origin: str
    media_id: str


@dataclass(frozen=True, slots=True)
class NoteMediaUse(Change):
    """Somebody looked at a file, by its key, at a time in milliseconds since 1970."""

    kind: ClassVar[str] = "media_use"
    area: ClassVar[str] = "media"
    logged: ClassVar[bool] = False

    file_key: str
    used_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        own: list[tuple[int, str, int]] = []
        remote: list[tuple[int, str, int]] = []
        for _, change in changes:
            rows = remote if change.file_key.startswith(REMOTE_PREFIX) else own
            rows.append((change.used_ms, change.file_key, change.used_ms))
        tx.many("UPDATE media SET used_ms = ? WHERE file_key = ? AND used_ms < ?", own)
        tx.many("UPDATE remote_media SET used_ms = ? WHERE file_key = ? AND used_ms < ?", remote)


@dataclass(frozen=True, slots=True)
class TellMediaUse(Change):
    """The same, for all sites to hear. The result is the IDs of the media."""

    kind: ClassVar[str] = "media_use"
    area: ClassVar[str] = "media"

    file_key: str
    used_ms: int

    def key(self) -> tuple[str, ...]:
        return (self.file_key,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return [(DeleteUnusedMedia.kind, (media_id,)) for media_id in cast("list[str]", result)]

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[list[str]]:
        results = []
        for _, change in changes:
            rows = tx.all(
                "UPDATE media SET used_ms = ? WHERE file_key = ? AND used_ms < ? RETURNING media_id",
                (change.used_ms, change.file_key, change.used_ms),
            )
            results.append([row[0] for row in rows])
        return results


@dataclass(frozen=True, slots=True)
class DeleteUnusedMedia(Change):
    """Own media go, if nobody looked at them since. The result is the keys of the files that nothing refers to now."""

    kind: ClassVar[str] = "media"
    area: ClassVar[str] = "media"

    media_id: str
    before_ms: int

    def key(self) -> tuple[str, ...]:
        return (self.media_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        # Nothing to tell if it was in use.
        return ((self.kind, self.key()),) if result else ()

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[list[str]]:
        results = []
        for _, change in changes:
            deleted = tx.all(
                "DELETE FROM media WHERE media_id = ? AND used_ms < ? RETURNING file_key",
                (change.media_id, change.before_ms),
            )
            if deleted:
                note_deletion(tx, change.media_id, change.before_ms)
                tx.run("DELETE FROM missing_media WHERE file_key = ?", (deleted[0][0],))
            results.append(delete_thumbnails(tx, [row[0] for row in deleted]))
        return results


@dataclass(frozen=True, slots=True)
class DeleteUnusedRemoteMedia(Change):
    """The same for what was fetched of another server. It can be fetched again."""

    kind: ClassVar[str] = "remote_media"
    area: ClassVar[str] = "media"
    logged: ClassVar[bool] = False

    media: RemoteMediaId
    before_ms: int

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[list[str]]:
        results = []
        for _, change in changes:
            deleted = tx.all(
                "DELETE FROM remote_media WHERE origin = ? AND media_id = ? AND used_ms < ? RETURNING file_key",
                (change.media.origin, change.media.media_id, change.before_ms),
            )
            results.append(delete_thumbnails(tx, [row[0] for row in deleted]))
        return results


@dataclass(frozen=True, slots=True)
class ForgetRemoteFile(Change):
    """A file of another server's media was lost. The result is the keys of the files that nothing refers to now."""

    kind: ClassVar[str] = "remote_media"
    area: ClassVar[str] = "media"
    logged: ClassVar[bool] = False

    file_key: str

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[list[str]]:
        results = []
        for _, change in changes:
            tx.run("DELETE FROM remote_media WHERE file_key = ?", (change.file_key,))
            results.append(delete_thumbnails(tx, [change.file_key]))
        return results


class MediaUseRepository:
    def get_uses(self, tx: Transaction, file_keys: Sequence[str]) -> dict[str, int]:
        """When own media were looked at last, by file, as far as it was written down."""
        rows = tx.all("SELECT file_key, used_ms FROM media WHERE file_key IN (??)", (file_keys,))
        return {row[0]: row[1] for row in rows}

    def list_unused(self, tx: Transaction, before_ms: int, limit: int) -> list[str]:
        """IDs of own media that nobody looked at since, the longest unused first."""
        rows = tx.all(
            "SELECT media_id FROM media WHERE used_ms < ? ORDER BY used_ms LIMIT ?", (before_ms, limit)
        )
        return [row[0] for row in rows]

    def list_unused_remote(self, tx: Transaction, before_ms: int, limit: int) -> list[RemoteMediaId]:
        rows = tx.all(
            "SELECT origin, media_id FROM remote_media WHERE used_ms < ? ORDER BY used_ms LIMIT ?",
            (before_ms, limit),
        )
        return [RemoteMediaId(*row) for row in rows]


def note_deletion(tx: WriteTransaction, media_id: str, before_ms: int) -> None:
    """Remember that own media went because nobody had looked at them since."""
    tx.run(
        "INSERT INTO deleted_media (media_id, before_ms) VALUES (?, ?) ON CONFLICT (media_id) DO UPDATE SET"
        " before_ms = excluded.before_ms WHERE excluded.before_ms > deleted_media.before_ms",
        (media_id, before_ms),
    )


def delete_thumbnails(tx: WriteTransaction, file_keys: list[str]) -> list[str]:
    """These keys and those of their thumbnails, whose rows go."""
    keys = list(file_keys)
    for file_key in file_keys:
        made = tx.all("DELETE FROM thumbnails WHERE original_key = ? RETURNING file_key", (file_key,))
        keys.extend(row[0] for row in made)
    # A picture that is small enough is its own thumbnail.
    return list(dict.fromkeys(keys))
