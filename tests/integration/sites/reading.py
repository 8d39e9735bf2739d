"""What a site shows of its rooms, for comparing two of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.support.http_client import MatrixClient


@dataclass(frozen=True)
class RoomSeen:
    """A room as one site shows it."""

    state: Mapping[tuple[str, str], str]
    """Event IDs by type and state key."""
    members: frozenset[str]
    events: frozenset[str]
    """All of the history."""


def see_room(client: MatrixClient, room_id: str) -> RoomSeen:
    """Raises AssertionError if the site does not show it."""
    room = f"/rooms/{quote(room_id)}"
    state = client.get(f"{room}/state").expect(200)
    joined = client.get(f"{room}/joined_members").expect(200)["joined"]
    return RoomSeen(
        {(event["type"], event["state_key"]): event["event_id"] for event in state},
        frozenset(joined),
        frozenset(event["event_id"] for event in history(client, room_id)),
    )


def texts(client: MatrixClient, room_id: str) -> list[tuple[str, str]]:
    """(text, event ID) of each message, the newest first."""
    return [
        (event["content"]["body"], event["event_id"])
        for event in history(client, room_id)
        if event["type"] == "m.room.message" and "body" in event["content"]
    ]


def history(client: MatrixClient, room_id: str) -> Iterator[Mapping[str, Any]]:
    """Every event of a room, from the newest to the oldest."""
    query = {"dir": "b", "limit": "500"}
    while True:
        page = client.get(f"/rooms/{quote(room_id)}/messages", query).expect(200)
        yield from page["chunk"]
        if "end" not in page:
            return
        query["from"] = page["end"]


def metric(client: MatrixClient, name: str) -> float:
    """A figure of `/metrics`, with its labels as they stand there. Raises AssertionError if it is not there."""
    text = client.get("/_synapse/metrics").body.decode()
    for line in text.splitlines():
        if line.startswith((f"{name} ", f"{name}{{")):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no metric {name}")
