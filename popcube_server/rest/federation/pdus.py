"""PDUs in answers, put together from the bytes that are stored."""

from collections.abc import Iterable, Mapping

import orjson

from federation.room_dag.event import Event
from popcube_server.rest.endpoint import Answer


def pdu_list(events: Iterable[Event]) -> bytes:
    return b"[%b]" % b",".join(event.json for event in events)


def spliced(members: Mapping[str, bytes]) -> Answer:
    """An object of which the values are JSON already."""
    return Answer(b"{%b}" % b",".join(orjson.dumps(key) + b":" + value for key, value in members.items()))
