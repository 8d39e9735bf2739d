"""Records of uploaded media and their thumbnails. The bytes are in a media store (`storage/media_files.py`)."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from storage.change import Change, Conflict
from storage.database import Transaction, WriteTransaction
from storage.engines.engine import Row
from storage.media_store import REMOTE_PREFIX
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """What was uploaded, and where its bytes are."""

    uploaded_ms: int
    content_type: str
    file_name: str | None
    size_bytes: int
    sha256: bytes
    file_key: str
    frozen: bool
    """Uploaded after unauthenticated downloads were frozen."""


@dataclass(frozen=True, slots=True)
class MediaRow:
    """A media ID, with its content once that is uploaded."""

    media_id: str
    owner: str
    """The user ID of the uploader."""
    created_ms: int
    expires_ms: int | None
    """Until when content may come; None if it came with the ID."""
    content: ContentRecord | None
    position: int

    def is_expired(self, now_ms: int) -> bool:
        """Whether the content did not come in time."""
        return self.content is None and self.expires_ms is not None and self.expires_ms <= now_ms


@dataclass(frozen=True, slots=True)
class UploadLimit:
    """At most `max_bytes` of uploads per user within any `period_ms`."""

    period_ms: int
    max_bytes: int


class QuotaExceeded(Conflict):
    """The user uploaded as much as allowed."""


class TooManyPending(Conflict):
    """The user has as many IDs without content as allowed; the first of them goes at `next_expiry_ms`."""

    def __init__(self, next_expiry_ms: int) -> None:
        super().__init__("too many media IDs wait for their content")
        self.next_expiry_ms = next_expiry_ms


class NotPending(Conflict):
    """The media ID has content, has expired, or belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class ReserveMedia(Change):
    """A media ID without content. Raises `TooManyPending`."""

    kind: ClassVar[str] = "media"
    area: ClassVar[str] = "media"

    media_id: str
    owner: str
    created_ms: int
    expires_ms: int
    max_pending: int

    def key(self) -> tuple[str, ...]:
        return (self.media_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        owners = tx.intern(change.owner for _, change in changes)
        for position, change in changes:
            owner = owners[change.owner]
            # What expired unused is forgotten here, where the owner's rows are looked at anyway.
            tx.run(
                "DELETE FROM media WHERE owner = ? AND uploaded_ms IS NULL AND expires_ms <= ?",
                (owner, change.created_ms),
            )
            pending = tx.all(
                "SELECT expires_ms FROM media WHERE owner = ? AND uploaded_ms IS NULL ORDER BY expires_ms LIMIT ?",
                (owner, change.max_pending),
            )
            if len(pending) >= change.max_pending:
                raise TooManyPending(pending[0][0])
            tx.run(
                "INSERT INTO media (media_id, position, owner, created_ms, expires_ms, frozen)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (change.media_id, position, owner, change.created_ms, change.expires_ms, 0),
            )


@dataclass(frozen=True, slots=True)
class StoreMedia(Change):
    """A media ID together with its content. Raises `QuotaExceeded`."""

    kind: ClassVar[str] = "media"
    area: ClassVar[str] = "media"

    media_id: str
    owner: str
    content: ContentRecord
    limits: tuple[UploadLimit, ...]

    def key(self) -> tuple[str, ...]:
        return (self.media_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        owners = tx.intern(change.owner for _, change in changes)
        for position, change in changes:
            owner = owners[change.owner]
            _check_limits(tx, owner, change.content, change.limits)
            tx.later(
                "INSERT INTO media (media_id, position, owner, created_ms, uploaded_ms, content_type, file_name,"
                " size_bytes, sha256, file_key, frozen, used_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        change.media_id,
                        position,
                        owner,
                        change.content.uploaded_ms,
                        *content_columns(change.content),
                        change.content.uploaded_ms,
                    )
                ],
            )


@dataclass(frozen=True, slots=True)
class FillMedia(Change):
    """The content of an ID that its owner reserved. Raises `NotPending` or `QuotaExceeded`."""

    kind: ClassVar[str] = "media"
    area: ClassVar[str] = "media"

    media_id: str
    owner: str
    content: ContentRecord
    limits: tuple[UploadLimit, ...]

    def key(self) -> tuple[str, ...]:
        return (self.media_id,)

    def records(self, result: object) -> Iterable[tuple[str, tuple[str, ...]]]:
        return ((self.kind, self.key()),)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        owners = tx.intern(change.owner for _, change in changes)
        for position, change in changes:
            owner = owners[change.owner]
            _check_limits(tx, owner, change.content, change.limits)
            filled = tx.all(
                "UPDATE media SET position = ?, uploaded_ms = ?, content_type = ?, file_name = ?, size_bytes = ?,"
                " sha256 = ?, file_key = ?, frozen = ?, used_ms = ?"
                " WHERE media_id = ? AND owner = ? AND uploaded_ms IS NULL AND expires_ms > ? RETURNING media_id",
                (
                    position,
                    *content_columns(change.content),
                    change.content.uploaded_ms,
                    change.media_id,
                    owner,
                    change.content.uploaded_ms,
                ),
            )
            if not filled:
                raise NotPending("the media ID does not wait for this content")


@dataclass(frozen=True, slots=True)
class ThumbnailKey:
    """Which thumbnail of a picture: what a row is found by."""

    width: int
    height: int
    method: str
    """`scale` or `crop`."""
    animated: bool


@dataclass(frozen=True, slots=True)
class ThumbnailRow:
    """A thumbnail in the media store."""

    key: ThumbnailKey
    content_type: str
    size_bytes: int
    file_key: str


class OriginalGone(Conflict):
    """The picture was deleted while its thumbnail was made."""


@dataclass(frozen=True, slots=True)
class AddThumbnail(Change):
    """A thumbnail was made. The result is the row that holds from now on: another replica may have been quicker.

    Raises `OriginalGone`.
    """

    kind: ClassVar[str] = "thumbnail"
    area: ClassVar[str] = "media"
    logged: ClassVar[bool] = False

    original_key: str
    """The file key of the picture: our own media or another server's."""
    thumbnail: ThumbnailRow

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[ThumbnailRow]:
        return [_add_thumbnail(tx, change.original_key, change.thumbnail) for _, change in changes]


class MediaRepository:
    """Reads records of media and thumbnails."""

    def find(self, tx: Transaction, media_id: str) -> MediaRow | None:
        row = tx.one(
            "SELECT media_id, owner, created_ms, expires_ms, position, uploaded_ms, content_type, file_name,"
            " size_bytes, sha256, file_key, frozen FROM media WHERE media_id = ?",
            (media_id,),
        )
        if row is None:
            return None
        owner = tx.names_of((row[1],))[row[1]]
        return MediaRow(row[0], owner, row[2], row[3], content_of(row[5:]), row[4])

    def check_quota(
        self, tx: Transaction, owner: str, now_ms: int, size_bytes: int, limits: Sequence[UploadLimit]
    ) -> None:
        """Raises `QuotaExceeded` if the user may not upload so much more now."""
        number = tx.name_id(owner)
        _check_quota(tx, number, now_ms, size_bytes, limits)

    def list_thumbnails(self, tx: Transaction, original_key: str) -> list[ThumbnailRow]:
        """The thumbnails of a file."""
        return _list_thumbnails(tx, original_key)


def _list_thumbnails(tx: Transaction, original_key: str) -> list[ThumbnailRow]:
    rows = tx.all(
        "SELECT width, height, method, animated, content_type, size_bytes, file_key FROM thumbnails"
        " WHERE original_key = ? ORDER BY width, height, method, animated",
        (original_key,),
    )
    return [ThumbnailRow(ThumbnailKey(row[0], row[1], row[2], bool(row[3])), *row[4:]) for row in rows]


def _add_thumbnail(tx: WriteTransaction, original_key: str, thumbnail: ThumbnailRow) -> ThumbnailRow:
    for row in _list_thumbnails(tx, original_key):
        if row.key == thumbnail.key:
            return row
    if original_key.startswith(REMOTE_PREFIX):
        original = tx.one("SELECT 1 FROM remote_media WHERE file_key = ?", (original_key,))
    else:
        original = tx.one("SELECT 1 FROM media WHERE file_key = ?", (original_key,))
    if original is None:
        raise OriginalGone("the picture was deleted")
    key = thumbnail.key
    tx.run(
        "INSERT INTO thumbnails (original_key, width, height, method, animated, content_type, size_bytes, file_key)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            original_key,
            key.width,
            key.height,
            key.method,
            int(key.animated),
            thumbnail.content_type,
            thumbnail.size_bytes,
            thumbnail.file_key,
        ),
    )
    return thumbnail


def _check_limits(tx: Transaction, owner: int, content: ContentRecord, limits: Sequence[UploadLimit]) -> None:
    _check_quota(tx, owner, content.uploaded_ms, content.size_bytes, limits)


def _check_quota(
    tx: Transaction, owner: int | None, now_ms: int, size_bytes: int, limits: Sequence[UploadLimit]
) -> None:
    for limit in limits:
        used_bytes = tx.value(
            "SELECT COALESCE(SUM(size_bytes), 0) FROM media WHERE owner = ? AND uploaded_ms > ?",
            (owner, now_ms - limit.period_ms),
        )
        if int(used_bytes) + size_bytes > limit.max_bytes:
            raise QuotaExceeded(f"{used_bytes} of {limit.max_bytes} bytes were uploaded")


def content_columns(content: ContentRecord) -> tuple[object, ...]:
    """As the tables of media have them: time, type, name, size, digest, key, frozen."""
    return (
        content.uploaded_ms,
        content.content_type.encode(),
        None if content.file_name is None else content.file_name.encode(),
        content.size_bytes,
        content.sha256,
        content.file_key,
        int(content.frozen),
    )


def content_of(row: Row) -> ContentRecord | None:
    """What `content_columns` made; None for columns that have nothing."""
    uploaded_ms, content_type, file_name, size_bytes, sha256, file_key, frozen = row
    if uploaded_ms is None:
        return None
    return ContentRecord(
        uploaded_ms,
        bytes(content_type).decode(),
        None if file_name is None else bytes(file_name).decode(),
        size_bytes,
        bytes(sha256),
        file_key,
        bool(frozen),
    )
