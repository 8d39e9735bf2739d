"""An event together with what this server decided about it."""

from dataclasses import replace

from federation.room_dag.event import Event, client_fields, load_event
from federation.room_dag.redaction import redact_event
from federation.room_dag.room_versions import get_room_rules
from storage.event_rows import EventRow
from storage.events import ORDERING_STEP, REJECTED, SOFT_FAILED
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(slots=True)
class StoredEvent:
    """A committed event. `event` is in its redacted form if the event was redacted."""

    event: Event
    position: int
    """The log position at which it was stored."""
    ordering: int
    """Its place in the room's timeline."""
    flags: int
    push: int
    snapshot_nid: int | None
    replaces: str | None
    """The event whose place in the state this one took."""
    redacted_by: str | None
    thread: str | None
    """The root of the thread that it is in."""
    _client_fields: bytes | None = None

    @property
    def client_fields(self) -> bytes:
        """As `room_dag.event.client_fields`, made once: JSON text without `room_id`, `unsigned` and the last brace."""
        fields = self._client_fields
        if fields is None:
            fields = self._client_fields = client_fields(self.event)
        return fields

    @property
    def is_found_later(self) -> bool:
        """Whether it is history that was fetched, in a hole of the timeline: only what happens lies on whole steps."""
        return self.ordering % ORDERING_STEP != 0

    @property
    def is_visible(self) -> bool:
        """Neither rejected nor soft failed: clients may get to see it."""
        return not self.flags & (REJECTED | SOFT_FAILED)

    def redacted(self, redacted_by: str) -> "StoredEvent":
        """The same after its redaction."""
        return replace(self, event=redact_event(self.event), redacted_by=redacted_by, _client_fields=None)


def from_row(row: EventRow) -> StoredEvent:
    """A stored event as it is to be used."""
    event = load_event(row.event_id, row.json, get_room_rules(row.room_version))
    stored = StoredEvent(
        event, row.nid, row.ordering, row.flags, row.push, row.snapshot_nid, row.replaces, None, row.thread
    )
    return stored if row.redacted_by is None else stored.redacted(row.redacted_by)
