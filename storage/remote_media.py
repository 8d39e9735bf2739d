"""Records of other servers' media that were fetched. The bytes are in a media store."""

from collections.abc import Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.media import ContentRecord, content_columns, content_of
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreRemoteMedia(Change):
    """Media were fetched. The result is the content that holds from now on: another replica may have been quicker."""

    kind: ClassVar[str] = "remote_media"
    area: ClassVar[str] = "media"
    logged: ClassVar[bool] = False

    origin: str
    media_id: str
    content: ContentRecord

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[ContentRecord]:
        return [_store(tx, change.origin, change.media_id, change.content) for _, change in changes]


class RemoteMediaRepository:
    def find(self, tx: Transaction, origin: str, media_id: str) -> ContentRecord | None:
        """What was fetched of another server."""
        return _find(tx, origin, media_id)


def _find(tx: Transaction, origin: str, media_id: str) -> ContentRecord | None:
    row = tx.one(
        "SELECT fetched_ms, content_type, file_name, size_bytes, sha256, file_key, frozen FROM remote_media"
        " WHERE origin = ? AND media_id = ?",
        (origin, media_id),
    )
    return None if row is None else content_of(row)


def _store(tx: WriteTransaction, origin: str, media_id: str, content: ContentRecord) -> ContentRecord:
    known = _find(tx, origin, media_id)
    if known is not None:
        return known
    tx.run(
        "INSERT INTO remote_media (origin, media_id, fetched_ms, content_type, file_name, size_bytes, sha256,"
        " file_key, frozen, used_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (origin, media_id, *content_columns(content), content.uploaded_ms),
    )
    return content
