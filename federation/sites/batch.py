"""What travels over a link: a stretch of the sender's log, as JSON.

    {
        "site": "paris",            who sends
        "after": 120, "upto": 180,  the stretch: positions after < p <= upto of the sender's log
        "seen": 77,                 how much of the receiver's log the sender had when its own stood at `upto`
        "events": [{"room_id": ..., "room_version": ..., "soft_failed": false, "pdu": {...}}],
        "records": [{"kind": ..., "key": [...], "value": ..., "clock": ..., "site": ...}]
    }

The receiver answers, once all of it is on its disk, `{"position": 180, "at": 93}`: how much of the sender's log it
has, and where its own stood then. A batch that comes twice does nothing the second time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from storage.replication.record import Record, Version
from storage.site_links import SiteEvent


class InvalidBatch(ValueError):
    """What came is no batch, or not the one that must come next."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event as it came: nothing of it was checked."""

    room_id: str
    room_version: str
    is_soft_failed: bool
    pdu: Any


@dataclass(frozen=True, slots=True)
class Batch:
    """A stretch of a peer's log, as it came."""

    site: str
    after: int
    upto: int
    seen: int
    events: Sequence[ReceivedEvent]
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """`position` of the sender's log is on the receiver's disk, whose own log then stood at `at`."""

    position: int
    at: int


def encode_batch(
    site: str, after: int, upto: int, seen: int, events: Sequence[SiteEvent], records: Sequence[Record]
) -> bytes:
    """The bytes to send. Events are spliced in as they are stored."""
    head = orjson.dumps({"site": site, "after": after, "upto": upto, "seen": seen})
    return b'%s,"events":[%s],"records":[%s]}' % (
        head[:-1],
        b",".join(map(_event, events)),
        b",".join(map(_record, records)),
    )


def _event(event: SiteEvent) -> bytes:
    head = orjson.dumps(
        {"room_id": event.room_id, "room_version": event.room_version, "soft_failed": event.is_soft_failed}
    )
    return b'%s,"pdu":%s}' % (head[:-1], event.json)


def _record(record: Record) -> bytes:
    return orjson.dumps(
        {
            "kind": record.kind,
            "key": record.key,
            "value": record.value,
            "clock": record.version.clock,
            "site": record.version.site,
        }
    )


def parse_batch(body: Mapping[str, Any]) -> Batch:
    """Raises `InvalidBatch`."""
    try:
        batch = Batch(
            _text(body["site"]),
            _number(body["after"]),
            _number(body["upto"]),
            _number(body["seen"]),
            [_parse_event(event) for event in body["events"]],
            [_parse_record(record) for record in body["records"]],
        )
    except (KeyError, TypeError) as error:
        raise InvalidBatch(f"not a batch: {error}") from None
    if not 0 <= batch.after <= batch.upto:
        raise InvalidBatch("a batch ends before it begins")
    return batch


def _parse_event(event: Any) -> ReceivedEvent:
    return ReceivedEvent(
        _text(event["room_id"]), _text(event["room_version"]), event["soft_failed"] is True, event["pdu"]
    )


def _parse_record(record: Any) -> Record:
    key = tuple(_text(part) for part in record["key"])
    version = Version(_number(record["clock"]), _text(record["site"]))
    return Record(_text(record["kind"]), key, record["value"], version)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("a number is missing")
    return value
