"""What travels over a link: a stretch of the sender's log, as JSON.

    {
        "after": 120, "upto": 180,  the stretch: positions after < p <= upto of the sender's log
        "log": "paris",             the ID of the sender's log; it has a new one after it was rebuilt
        "events": [{"pdu": {...}, "room_id": ..., "room_version": ..., "soft_failed": false}],
        "records": [{"clock": "4411...", "key": [...], "kind": ..., "owner": ..., "site": ..., "value": ...}],
        "seen": 77,                 how much of the receiver's log the sender had when its own stood at `upto`
        "site": "paris",            who sends
        "version": 1                of this format; without it, 1
    }

A receiver says which versions of the format it reads when it is asked for its cursor (`"versions": [1]`; without it,
1 alone), and the sender writes the newest that both know; if there is none, it waits and says so. Within a version
both leave alone what they do not know: other fields of the batch, other kinds of records (see `storage/held_back.py`).

It is canonical JSON as it stands, so that it can be signed without being parsed again; a clock is a text because
canonical JSON has no integers of its size.

The receiver answers, once all of it is on its disk, `{"position": 180, "at": 93}`: how much of the sender's log it
has, and where its own stood then. A batch that comes twice does nothing the second time.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from federation.room_dag.canonical_json import encode_lenient
from storage.replication.hybrid_clock import MAX_CLOCK
from storage.replication.record import Record, Version
from storage.site_links import SiteEvent
from synapse_like_config.lazy_dataclasses import dataclass

VERSION: Final = 1
"""Of the format that is written here, the only one there has been."""
MAX_CLOCK_DIGITS: Final = 19
MAX_POSITION: Final = 2**63 - 1


class InvalidBatch(ValueError):
    """What came is no batch, or not the one that must come next."""


class Unplaceable(ValueError):
    """What came is no event that this site can make part of a room, now or ever."""


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
    log: str
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


@dataclass(frozen=True, slots=True)
class LogName:
    """This site, and the ID of its log."""

    site: str
    log: str


def encode_batch(
    name: LogName, after: int, upto: int, seen: int, events: Iterable[bytes], records: Iterable[bytes]
) -> bytes:
    """The bytes to send, of what `encode_event` and `encode_record` have made."""
    return (
        b'{"after":%d,"events":[%s],"log":%s,"records":[%s],"seen":%d,"site":%s,"upto":%d,"version":%d}'
        % (
            after,
            b",".join(events),
            orjson.dumps(name.log),
            b",".join(records),
            seen,
            orjson.dumps(name.site),
            upto,
            VERSION,
        )
    )


def encode_event(event: SiteEvent) -> bytes:
    """The event is spliced in as it is stored."""
    rest = orjson.dumps(
        {"room_id": event.room_id, "room_version": event.room_version, "soft_failed": event.is_soft_failed}
    )
    return b'{"pdu":%s,%s' % (event.json, rest[1:])


def encode_record(record: Record) -> bytes:
    return encode_lenient(
        {
            "clock": str(record.version.clock),
            "key": record.key,
            "kind": record.kind,
            "owner": record.owner,
            "site": record.version.site,
            "value": record.value,
        }
    )


def parse_batch(body: Mapping[str, Any]) -> Batch:
    """Raises `InvalidBatch`."""
    if body.get("version", VERSION) != VERSION:
        raise InvalidBatch(f"version {body['version']} of the format is not known here")
    try:
        batch = Batch(
            _text(body["site"]),
            _text(body["log"]),
            _number(body["after"]),
            _number(body["upto"]),
            _number(body["seen"]),
            [_parse_event(event) for event in _list(body["events"])],
            [_parse_record(record) for record in _list(body["records"])],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidBatch(f"not a batch: {error}") from None
    if not 0 <= batch.after <= batch.upto:
        raise InvalidBatch("a batch ends before it begins")
    return batch


def _parse_event(event: Any) -> ReceivedEvent:
    return ReceivedEvent(
        _text(event["room_id"]), _text(event["room_version"]), event["soft_failed"] is True, event["pdu"]
    )


def _parse_record(record: Any) -> Record:
    key = tuple(_text(part) for part in _list(record["key"]))
    version = Version(_clock(_text(record["clock"])), _text(record["site"]))
    owner = record["owner"]
    return Record(
        _text(record["kind"]), key, record["value"], version, None if owner is None else _text(owner)
    )


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is missing")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    return value


def _clock(text: str) -> int:
    # Digits alone: `int` would take signs, spaces and the digits of every script, and texts of any length.
    if not text.isascii() or not text.isdigit() or len(text) > MAX_CLOCK_DIGITS or int(text) > MAX_CLOCK:
        raise ValueError("a clock is none")
    return int(text)


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_POSITION:
        raise TypeError("a number is missing")
    return value
