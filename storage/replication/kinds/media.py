"""Media: an ID is reserved, filled and perhaps deleted; the rule is `storage.merge_media`. Files travel apart."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.database import Transaction
from storage.media import ContentRecord, StoreMedia
from storage.merge_media import MediaState, MergeMedia, find_media_state, merge_states
from storage.replication.record import Combined, Key, Record, Taken, Version


class MediaKind:
    """A media ID. Not of the user, though they own it: rooms go on showing what a lost account uploaded."""

    name: Final = StoreMedia.kind
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: find_media_state(tx, key[0]) for key in keys}
        return {key: _value(state) for key, state in found.items() if state is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | Combined | None:
        if record.value is None:
            # A reservation that expired at the sender: each site finds out by itself.
            return None
        (media_id,) = record.key
        theirs = _state(record.value)
        ours = find_media_state(tx, media_id)
        merged = merge_states(ours, theirs)
        if merged == ours:
            return None
        change = MergeMedia(media_id, merged)
        return Taken((change,)) if merged == theirs else Combined((change,))


def _value(state: MediaState) -> Mapping[str, Any]:
    if state.deleted_before_ms is not None:
        return {"deleted_before_ms": state.deleted_before_ms}
    value: dict[str, Any] = {
        "owner": state.owner,
        "created_ms": state.created_ms,
        "expires_ms": state.expires_ms,
    }
    content = state.content
    if content is not None:
        value |= {
            "uploaded_ms": content.uploaded_ms,
            "content_type": content.content_type,
            "file_name": content.file_name,
            "size_bytes": content.size_bytes,
            "sha256": content.sha256.hex(),
            "file_key": content.file_key,
            "frozen": content.frozen,
            "used_ms": state.used_ms,
        }
    return value


def _state(value: Mapping[str, Any]) -> MediaState:
    if "deleted_before_ms" in value:
        return MediaState(deleted_before_ms=value["deleted_before_ms"])
    content = None
    if "file_key" in value:
        content = ContentRecord(
            value["uploaded_ms"],
            value["content_type"],
            value["file_name"],
            value["size_bytes"],
            bytes.fromhex(value["sha256"]),
            value["file_key"],
            value["frozen"],
        )
    return MediaState(value["owner"], value["created_ms"], value["expires_ms"], content, value.get("used_ms"))


MEDIA: Final = MediaKind()
