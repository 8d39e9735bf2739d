"""Bundled aggregations: what `unsigned.m.relations` says of an event's children.

Source: client-server API, "Aggregations of child events", "Event replacements", "Reference relations", "Threading".
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Protocol

import orjson

from federation.rooms.event_store import EventStore
from federation.rooms.relation import REPLACE, find_relation
from federation.rooms.stored_event import StoredEvent
from popcube_server.services.account_data.personal_rules import PersonalRules
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.event_json import NO_SURROUNDINGS, STYLE, EventStyle, Surroundings
from popcube_server.services.rooms.event_memberships import EventMemberships
from popcube_server.services.rooms.relation_summaries import RelationSummaries, RelationSummary
from popcube_server.services.rooms.visibility import Visibility
from storage.relations import RepliesRow
from synapse_like_config.lazy_dataclasses import dataclass


class ChildJson(Protocol):
    """Renders an event that stands within another."""

    def one(
        self,
        stored: StoredEvent,
        surroundings: Surroundings,
        membership: str | None,
        reader: Requester | None,
        bundle: bytes | None = None,
        style: EventStyle = STYLE,
    ) -> bytes: ...


@dataclass(slots=True)
class _Thread:
    newest: RepliesRow
    count: int
    has_participated: bool


@dataclass(slots=True)
class _Plan:
    """What is to be said of one event, before its children are loaded."""

    edits: Sequence[str] = ()
    references: Sequence[str] = ()
    thread: _Thread | None = None

    def wanted(self) -> Iterable[str]:
        yield from self.edits
        if self.thread is not None:
            yield self.thread.newest.newest_id


@dataclass(frozen=True, slots=True)
class _Children:
    """The loaded children that the reader may see, and how they are rendered."""

    visible: Mapping[str, StoredEvent]
    memberships: Mapping[str, str]
    bundles: Mapping[str, bytes] = field(default_factory=dict)


class BundledAggregations:
    """For a whole page at once: nothing is read if memory knows that nothing refers to the events."""

    def __init__(
        self,
        summaries: RelationSummaries,
        events: EventStore,
        visibility: Visibility,
        memberships: EventMemberships,
        personal: PersonalRules,
        child_json: ChildJson,
    ) -> None:
        self._summaries = summaries
        self._events = events
        self._visibility = visibility
        self._memberships = memberships
        self._personal = personal
        self._child_json = child_json

    async def bundled(self, events: Sequence[StoredEvent], reader_id: str) -> Mapping[str, bytes]:
        """By event ID the JSON of `m.relations`, of those events that have something to say there."""
        plans = await self._plans(events, reader_id)
        if not plans:
            return {}
        children = await self._load(plans.values(), reader_id)
        newest = [
            stored
            for plan in plans.values()
            if plan.thread is not None
            and (stored := children.visible.get(plan.thread.newest.newest_id)) is not None
        ]
        if newest:
            # "latest_event: The most recent event in the thread", which is bundled itself: with its last edit.
            bundles = await self._bundled_within(newest, reader_id)
            children = _Children(children.visible, children.memberships, bundles)
        return self._encode_all(plans, children)

    async def _bundled_within(self, events: Sequence[StoredEvent], reader_id: str) -> dict[str, bytes]:
        plans = await self._plans(events, reader_id)
        for plan in plans.values():
            # A thread cannot begin within a thread.
            plan.thread = None
        return self._encode_all(plans, await self._load(plans.values(), reader_id))

    async def _plans(self, events: Sequence[StoredEvent], reader_id: str) -> dict[str, _Plan]:
        # "state events do not currently receive any bundled aggregations."
        candidates = [stored for stored in events if stored.event.state_key is None]
        summaries = await self._summaries.of(candidates)
        if not summaries:
            return {}
        ignored = await self._personal.ignored(reader_id)
        return {
            stored.event.event_id: _plan(stored, summary, reader_id, ignored)
            for stored in candidates
            if (summary := summaries.get(stored.event.event_id)) is not None
        }

    async def _load(self, plans: Iterable[_Plan], reader_id: str) -> _Children:
        wanted = [event_id for plan in plans for event_id in plan.wanted()]
        if not wanted:
            return _Children({}, {})
        found = await self._events.get_many(wanted)
        seen = await self._visibility.visible(reader_id, list(found.values()))
        memberships = await self._memberships.of(reader_id, seen)
        return _Children({stored.event.event_id: stored for stored in seen}, memberships)

    def _encode_all(self, plans: Mapping[str, _Plan], children: _Children) -> dict[str, bytes]:
        encoded = ((event_id, self._encode(plan, children)) for event_id, plan in plans.items())
        return {event_id: text for event_id, text in encoded if text is not None}

    def _encode(self, plan: _Plan, children: _Children) -> bytes | None:
        parts = []
        edit = _newest_edit(plan.edits, children)
        if edit is not None:
            parts.append(b'"m.replace":' + self._child(edit, children))
        if plan.references:
            chunk = orjson.dumps([{"event_id": event_id} for event_id in plan.references])
            parts.append(b'"m.reference":{"chunk":%b}' % chunk)
        thread = plan.thread
        newest = None if thread is None else children.visible.get(thread.newest.newest_id)
        if thread is not None and newest is not None:
            parts.append(
                b'"m.thread":{"latest_event":%b,"count":%d,"current_user_participated":%b}'
                % (
                    self._child(newest, children),
                    thread.count,
                    b"true" if thread.has_participated else b"false",
                )
            )
        return b"{%b}" % b",".join(parts) if parts else None

    def _child(self, stored: StoredEvent, children: _Children) -> bytes:
        event_id = stored.event.event_id
        return self._child_json.one(
            stored,
            NO_SURROUNDINGS,
            children.memberships[event_id],
            None,
            children.bundles.get(event_id),
            STYLE,
        )


def _plan(stored: StoredEvent, summary: RelationSummary, reader_id: str, ignored: Collection[str]) -> _Plan:
    # "events sent by ignored users are not included in the aggregation".
    plan = _Plan(references=[row.event_id for row in summary.references if row.sender not in ignored])
    relation = find_relation(stored.event.content)
    # "The original event must not, itself, have a `rel_type` of `m.replace`". And nothing is bundled "if the original
    # event was redacted".
    is_edit = relation is not None and relation.rel_type == REPLACE
    if not is_edit and stored.redacted_by is None and stored.event.sender not in ignored:
        plan.edits = summary.edits
    replies = [row for row in summary.replies if row.sender not in ignored]
    if replies:
        plan.thread = _Thread(
            max(replies, key=lambda row: row.newest),
            sum(row.count for row in replies),
            # "true when the authenticated user is either: 1. The `sender` of the event receiving the bundled
            # aggregation. 2. The `sender` of an event which references the thread root".
            stored.event.sender == reader_id or any(row.sender == reader_id for row in replies),
        )
    return plan


def _newest_edit(event_ids: Iterable[str], children: _Children) -> StoredEvent | None:
    # "the most recent replacement ... the one with the latest `origin_server_ts`. If two or more ... lexicographically
    # largest `event_id`."
    edits = [
        stored
        for event_id in event_ids
        if (stored := children.visible.get(event_id)) is not None and _is_replacement(stored)
    ]
    return max(edits, key=lambda edit: (edit.event.origin_server_ts, edit.event.event_id), default=None)


def _is_replacement(stored: StoredEvent) -> bool:
    # "the replacement event's content must contain an `m.new_content` property"; if encrypted, within the ciphertext.
    event = stored.event
    return event.type == "m.room.encrypted" or isinstance(event.content.get("m.new_content"), dict)
