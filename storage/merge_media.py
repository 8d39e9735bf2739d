"""What is known of a media ID on several sites, and how it becomes one.

An ID is reserved, then filled, then perhaps deleted. Of two contents that came to one ID in a cut, the earlier one is
its content. Media are there as long as somebody looked at them at or after the time since which a site found them
unused: a look on one side of a cut outlives a deletion on the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Transaction, WriteTransaction
from storage.media import ContentRecord, content_columns, content_of
from storage.media_use import delete_thumbnails, note_deletion
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaState:
    """A media ID as a site has it. `deleted_before_ms` is given if it was deleted, and then nothing else is."""

    owner: str = ""
    created_ms: int = 0
    expires_ms: int | None = None
    content: ContentRecord | None = None
    used_ms: int | None = None
    """When somebody looked at it last; given with the content."""
    deleted_before_ms: int | None = None


def find_media_state(tx: Transaction, media_id: str) -> MediaState | None:
    row = tx.one(
        "SELECT owner, created_ms, expires_ms, used_ms, uploaded_ms, content_type, file_name, size_bytes, sha256,"
        " file_key, frozen FROM media WHERE media_id = ?",
        (media_id,),
    )
    if row is not None:
        owner = tx.names_of((row[0],))[row[0]]
        return MediaState(owner, row[1], row[2], content_of(row[4:]), row[3])
    before_ms = tx.value("SELECT before_ms FROM deleted_media WHERE media_id = ?", (media_id,))
    return None if before_ms is None else MediaState(deleted_before_ms=before_ms)


def merge_states(ours: MediaState | None, theirs: MediaState) -> MediaState:
    """The same whoever's is which."""
    if ours is None or ours == theirs:
        return theirs
    if ours.deleted_before_ms is not None and theirs.deleted_before_ms is not None:
        return max(ours, theirs, key=lambda state: state.deleted_before_ms or 0)
    if ours.deleted_before_ms is not None:
        return _merge_deletion(theirs, ours)
    if theirs.deleted_before_ms is not None:
        return _merge_deletion(ours, theirs)
    contents = [state.content for state in (ours, theirs) if state.content is not None]
    uses = [state.used_ms for state in (ours, theirs) if state.used_ms is not None]
    content = min(contents, key=lambda each: (each.uploaded_ms, each.file_key), default=None)
    return replace(ours, content=content, used_ms=max(uses, default=None))


def _merge_deletion(present: MediaState, deleted: MediaState) -> MediaState:
    assert deleted.deleted_before_ms is not None
    # What has no content is never deleted for want of use: the other site had content, and knows of its uses.
    is_used = present.used_ms is not None and present.used_ms >= deleted.deleted_before_ms
    return present if is_used else deleted


@dataclass(frozen=True, slots=True)
class MergeMedia(Change):
    """A media ID is as `state` says, from now on; what another site knew is in it."""

    kind: ClassVar[str] = "media"
    area: ClassVar[str] = "media"

    media_id: str
    state: MediaState

    def key(self) -> tuple[str, ...]:
        return (self.media_id,)

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for position, change in changes:
            known = tx.value("SELECT file_key FROM media WHERE media_id = ?", (change.media_id,))
            content = change.state.content
            if known is not None and (content is None or content.file_key != known):
                _drop_file(tx, known)
            if change.state.deleted_before_ms is not None:
                tx.run("DELETE FROM media WHERE media_id = ?", (change.media_id,))
                note_deletion(tx, change.media_id, change.state.deleted_before_ms)
                continue
            _write_state(tx, position, change.media_id, change.state)
            if content is not None and content.file_key != known:
                _miss_file(tx, position, content)


def _write_state(tx: WriteTransaction, position: int, media_id: str, state: MediaState) -> None:
    content = (None,) * 6 + (0,) if state.content is None else content_columns(state.content)
    tx.run("DELETE FROM deleted_media WHERE media_id = ?", (media_id,))
    tx.run(
        "INSERT INTO media (media_id, position, owner, created_ms, expires_ms, uploaded_ms, content_type, file_name,"
        " size_bytes, sha256, file_key, frozen, used_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (media_id) DO UPDATE SET position = excluded.position, uploaded_ms = excluded.uploaded_ms,"
        " content_type = excluded.content_type, file_name = excluded.file_name, size_bytes = excluded.size_bytes,"
        " sha256 = excluded.sha256, file_key = excluded.file_key, frozen = excluded.frozen,"
        " used_ms = excluded.used_ms",
        (
            media_id,
            position,
            tx.intern_one(state.owner),
            state.created_ms,
            state.expires_ms,
            *content,
            state.used_ms,
        ),
    )


def _miss_file(tx: WriteTransaction, position: int, content: ContentRecord) -> None:
    tx.run("DELETE FROM dropped_media_files WHERE file_key = ?", (content.file_key,))
    tx.run(
        "INSERT INTO missing_media (file_key, size_bytes, position, tries, retry_ms) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (file_key) DO NOTHING",
        (content.file_key, content.size_bytes, position, 0, 0),
    )


def _drop_file(tx: WriteTransaction, file_key: str) -> None:
    tx.run("DELETE FROM missing_media WHERE file_key = ?", (file_key,))
    tx.many(
        "INSERT INTO dropped_media_files (file_key) VALUES (?) ON CONFLICT (file_key) DO NOTHING",
        [(key,) for key in delete_thumbnails(tx, [file_key])],
    )
