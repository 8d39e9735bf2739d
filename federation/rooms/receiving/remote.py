"""What is asked of other servers about rooms, with answers that have at least the right shape and size."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from federation.room_dag.event import Event
from federation.transport.errors import InvalidAnswer
from federation.transport.federation_client import Body, Query, api_path
from synapse_like_config.lazy_dataclasses import dataclass

V1 = "/_matrix/federation/v1/"
V2 = "/_matrix/federation/v2/"

MAX_MISSING_EVENTS = 50
MAX_BACKFILL = 100
MAX_STATE_EVENTS = 200_000
"""More state than this is no room that this server can take part in."""


class RemoteServers(Protocol):
    """`federation.transport.federation_client.FederationClient`. All raise `FederationError`."""

    async def get(self, destination: str, path: str, query: Query | None = None) -> dict[str, Any]: ...

    async def put(
        self, destination: str, path: str, body: Body, query: Query | None = None
    ) -> dict[str, Any]: ...

    async def post(
        self, destination: str, path: str, body: Body, query: Query | None = None
    ) -> dict[str, Any]: ...


class EventVerifier(Protocol):
    """`federation.keys.verify_events.VerifyEvents`."""

    async def verify(self, event: Event) -> None:
        """Raise `room_dag.signing.InvalidSignature` if the event must be dropped."""

    async def find_invalid(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        """Of many events those that must be dropped, by event ID."""


@dataclass(frozen=True, slots=True)
class StateIds:
    """The state before an event, and its auth chain, as event IDs."""

    state: tuple[str, ...]
    auth_chain: tuple[str, ...]


class AskServers:
    """One method for each question. PDUs are as they came: nothing of them was checked."""

    def __init__(self, servers: RemoteServers) -> None:
        self._servers = servers

    async def event(self, destination: str, event_id: str) -> Any:
        answer = await self._servers.get(destination, api_path(V1 + "event", event_id))
        pdus = _list(destination, answer, "pdus", 1)
        if not pdus:
            raise InvalidAnswer(destination, "the event is not in the answer")
        return pdus[0]

    async def missing_events(
        self, destination: str, room_id: str, earliest: Sequence[str], latest: Sequence[str], min_depth: int
    ) -> list[Any]:
        """What lies between events that are here and events that came."""
        body = {
            "earliest_events": list(earliest),
            "latest_events": list(latest),
            "limit": MAX_MISSING_EVENTS,
            "min_depth": min_depth,
        }
        answer = await self._servers.post(destination, api_path(V1 + "get_missing_events", room_id), body)
        return _list(destination, answer, "events", MAX_MISSING_EVENTS)

    async def state_ids(self, destination: str, room_id: str, event_id: str) -> StateIds:
        path = api_path(V1 + "state_ids", room_id)
        answer = await self._servers.get(destination, path, {"event_id": event_id})
        return StateIds(_ids(destination, answer, "pdu_ids"), _ids(destination, answer, "auth_chain_ids"))

    async def state(self, destination: str, room_id: str, event_id: str) -> list[Any]:
        """The events of the state before an event, and of its auth chain."""
        path = api_path(V1 + "state", room_id)
        answer = await self._servers.get(destination, path, {"event_id": event_id})
        return [
            *_list(destination, answer, "pdus", MAX_STATE_EVENTS),
            *_list(destination, answer, "auth_chain", MAX_STATE_EVENTS),
        ]

    async def event_auth(self, destination: str, room_id: str, event_id: str) -> list[Any]:
        answer = await self._servers.get(destination, api_path(V1 + "event_auth", room_id, event_id))
        return _list(destination, answer, "auth_chain", MAX_STATE_EVENTS)

    async def event_at(
        self, destination: str, room_id: str, at_ms: int, is_backward: bool
    ) -> tuple[str, int]:
        """ID and time of the event that is nearest to a time, in one direction."""
        path = api_path(V1 + "timestamp_to_event", room_id)
        query = {"ts": str(at_ms), "dir": "b" if is_backward else "f"}
        answer = await self._servers.get(destination, path, query)
        event_id, event_ms = answer.get("event_id"), answer.get("origin_server_ts")
        if not isinstance(event_id, str) or not isinstance(event_ms, int) or "\x00" in event_id:
            raise InvalidAnswer(destination, "an event and its time are not in the answer")
        return event_id, event_ms

    async def backfill(
        self, destination: str, room_id: str, event_ids: Sequence[str], limit: int
    ) -> list[Any]:
        """Events that lie at and before the given ones."""
        path = api_path(V1 + "backfill", room_id)
        answer = await self._servers.get(destination, path, {"v": list(event_ids), "limit": str(limit)})
        return _list(destination, answer, "pdus", MAX_BACKFILL)


def _list(destination: str, answer: Mapping[str, Any], key: str, most: int) -> list[Any]:
    value = answer.get(key)
    if not isinstance(value, list):
        raise InvalidAnswer(destination, f"{key} is not a list")
    # What is beyond the number that was asked for is not even looked at.
    return value[:most]


def _ids(destination: str, answer: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = _list(destination, answer, key, MAX_STATE_EVENTS)
    if not all(isinstance(event_id, str) for event_id in value):
        raise InvalidAnswer(destination, f"{key} is not a list of event IDs")
    return tuple(dict.fromkeys(value))
