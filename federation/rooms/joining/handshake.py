"""make_*, sign, send_*: how a server that is not in a room gets a member event into it.

Source: server-server API, "Joining Rooms", "Knocking upon a room", "Leaving Rooms". The template of the other server is
not trusted: only where the event stands in the graph is taken from it, and who authorised a restricted join.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from federation.room_dag.event import Event, EventTemplate, InvalidEvent, build_event
from federation.room_dag.room_versions import (
    ROOM_VERSIONS,
    EventFormat,
    EventIdFormat,
    RoomRules,
    UnknownRoomVersion,
    get_room_rules,
)
from federation.room_dag.signing import EventSigner
from federation.rooms.receiving.remote import V1, RemoteServers
from federation.transport.errors import FederationError, HttpRefusal, InvalidAnswer
from federation.transport.federation_client import api_path
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

MAX_SERVERS = 10
LOCAL_ID_LENGTH = 18


class NoServerHelped(Exception):
    """None of the servers could be made to do it. `refusal` is the most telling no of those that said something."""

    def __init__(self, refusal: HttpRefusal | None) -> None:
        super().__init__("no server could help" if refusal is None else str(refusal))
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Wanted:
    """The member event to be made."""

    room_id: str
    user_id: str
    membership: str
    content: Mapping[str, Any]
    """Without `membership`."""


class Handshake:
    """Asks one server for a template and makes the event."""

    def __init__(
        self,
        servers: RemoteServers,
        signer: EventSigner,
        now_ms: Callable[[], int],
        random_letters: Callable[[int], str],
    ) -> None:
        self._servers = servers
        self._signer = signer
        self.now_ms = now_ms
        self._random_letters = random_letters

    async def make(self, destination: str, wanted: Wanted) -> Event:
        """The signed event. Raises `FederationError`."""
        path = api_path(f"{V1}make_{wanted.membership}", wanted.room_id, wanted.user_id)
        query = None if wanted.membership == "leave" else {"ver": list(ROOM_VERSIONS)}
        answer = await self._servers.get(destination, path, query)
        try:
            # "If not provided, the room version is assumed to be either "1" or "2"."
            rules = get_room_rules(_string(answer, "room_version", "1"))
            return self._build(wanted, rules, answer.get("event"))
        except (InvalidEvent, UnknownRoomVersion) as error:
            raise InvalidAnswer(destination, f"an unusable template: {error}") from None

    def _build(self, wanted: Wanted, rules: RoomRules, template: Any) -> Event:
        if not isinstance(template, dict) or not isinstance(template.get("content"), dict):
            raise InvalidEvent("the template is not an event")
        expected = {
            "type": "m.room.member",
            "sender": wanted.user_id,
            "state_key": wanted.user_id,
            "room_id": wanted.room_id,
        }
        if any(template.get(key) != value for key, value in expected.items()):
            raise InvalidEvent("the template is of another event")
        if template["content"].get("membership") != wanted.membership:
            raise InvalidEvent("the template is of another membership")
        content = {**wanted.content, "membership": wanted.membership}
        authorizer = template["content"].get("join_authorised_via_users_server")
        if rules.restricted_joins and wanted.membership == "join" and isinstance(authorizer, str):
            content["join_authorised_via_users_server"] = authorizer
        depth = template.get("depth")
        if not isinstance(depth, int) or isinstance(depth, bool):
            raise InvalidEvent("the template has no depth")
        hashes: dict[str, str | None] = {}
        return build_event(
            EventTemplate(
                type="m.room.member",
                sender=wanted.user_id,
                room_id=wanted.room_id,
                state_key=wanted.user_id,
                content=content,
                origin_server_ts=self.now_ms(),
                depth=depth,
                prev_events=_references(template, "prev_events", rules, hashes),
                auth_events=_references(template, "auth_events", rules, hashes),
                reference_hashes=hashes,
            ),
            rules,
            self._signer,
            self.local_id(rules),
        )

    def local_id(self, rules: RoomRules) -> str | None:
        """The localpart of a new event's ID, where the room version has one."""
        if rules.event_id_format is EventIdFormat.LOCALPART_AND_DOMAIN:
            return self._random_letters(LOCAL_ID_LENGTH)
        return None


async def first_that_helps(servers: Sequence[str], own_name: str, attempt: Callable[[str], Any]) -> Any:
    """Ask servers in turn; the first success. Raises `NoServerHelped`."""
    refusal: HttpRefusal | None = None
    candidates = [server for server in dict.fromkeys(servers) if server != own_name]
    for destination in candidates[:MAX_SERVERS]:
        try:
            return await attempt(destination)
        except HttpRefusal as error:
            logger.info("Refused: %s", error)
            if refusal is None or _says_nothing(refusal):
                refusal = error
        except FederationError as error:
            logger.info("No help: %s", error)
    raise NoServerHelped(refusal)


def _says_nothing(refusal: HttpRefusal) -> bool:
    # Of a server that does not know the room, or has a fault: what another says is about the room.
    return refusal.errcode in (None, "M_NOT_FOUND", "M_UNKNOWN", "M_UNRECOGNIZED") or refusal.status >= 500


def _references(
    template: Mapping[str, Any], key: str, rules: RoomRules, hashes: dict[str, str | None]
) -> tuple[str, ...]:
    references = template.get(key)
    if not isinstance(references, list):
        raise InvalidEvent(f"the template has no {key}")
    ids = []
    for reference in references:
        if rules.event_format is EventFormat.ID_AND_HASH_PAIRS:
            if not (
                isinstance(reference, list)
                and len(reference) == 2
                and isinstance(reference[0], str)
                and isinstance(reference[1], dict)
                and isinstance(reference[1].get("sha256", ""), str)
            ):
                raise InvalidEvent(f"{key} of the template are not pairs")
            # COMPAT: nobody checks these hashes any more, and Synapse leaves out those that it does not have at hand.
            hashes[reference[0]] = reference[1].get("sha256")
            reference = reference[0]
        if not isinstance(reference, str):
            raise InvalidEvent(f"{key} of the template are not event IDs")
        ids.append(reference)
    return tuple(ids)


def _string(answer: Mapping[str, Any], key: str, default: str) -> str:
    value = answer.get(key, default)
    if not isinstance(value, str):
        raise InvalidEvent(f"{key} is not a string")
    return value
