"""One PDU of another server: is it right, may it come from there, and what does the room make of it.

Source: server-server API, "Checks performed on receipt of a PDU", "Server Access Control Lists (ACLs) for rooms".
"""

import logging
from collections.abc import Sequence
from enum import Enum
from typing import Any

from federation.keys.verify_events import KeysUnavailable
from federation.room_dag.event import Event, InvalidEvent
from federation.room_dag.signing import InvalidSignature
from federation.rooms.accept_event import MissingEvents, Verdict
from federation.rooms.accept_run import AcceptRun
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.receiving.check_pdu import CheckPdus
from federation.rooms.receiving.fetch_missing import StateUnavailable
from federation.rooms.receiving.receive_pdu import ReceivePdu
from federation.transport.errors import FederationError
from popcube_server.services.federation.retract_invite import AskedTooMuch, RetractInvite
from popcube_server.services.federation.room_access import RoomAccess, has_member_of
from storage.expected_membership import MembershipMovedOn
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)


class Fate(Enum):
    """What became of a PDU; the values are names in metrics."""

    ACCEPTED = "accepted"
    SOFT_FAILED = "soft_failed"
    KNOWN = "known"
    REJECTED = "rejected"
    INVALID = "invalid"
    """Malformed, or not signed as it must be."""
    REFUSED = "refused"
    """The room's ACL, or a room that nobody here is in."""
    UNPLACED = "unplaced"
    """What it stands on, or the keys to check it with, could not be had: that may be otherwise later."""
    TOO_MANY = "too_many"
    """The queue is full."""
    FAULT = "fault"
    """An error of this server."""


@dataclass(frozen=True, slots=True)
class Result:
    """`error` is for the other server, None if all is well (also with what it need not know, as a soft failure)."""

    fate: Fate
    error: str | None = None


_OF_VERDICT = {
    Verdict.ACCEPTED: Result(Fate.ACCEPTED),
    Verdict.SOFT_FAILED: Result(Fate.SOFT_FAILED),
    Verdict.KNOWN: Result(Fate.KNOWN),
    Verdict.REJECTED: Result(Fate.REJECTED, "The room's rules do not allow the event."),
}


class PlacePdu:
    """Decides about PDUs one by one."""

    def __init__(
        self,
        rooms: LiveRooms,
        access: RoomAccess,
        check: CheckPdus,
        receive_pdu: ReceivePdu,
        accept_run: AcceptRun,
        retract: RetractInvite,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._access = access
        self._check = check
        self._receive_pdu = receive_pdu
        self._accept_run = accept_run
        self._retract = retract
        self._server_name = server_name

    async def place(self, origin: str, room_id: str, pdu: Any) -> Result:
        """What became of it; on disk if it was accepted. Raises `CommitFailed`."""
        try:
            return await self._decide(origin, room_id, pdu)
        except (KeysUnavailable, StateUnavailable, MissingEvents, AskedTooMuch) as error:
            return Result(Fate.UNPLACED, str(error))
        except FederationError as error:
            # What went wrong on the way is not told: it may say what our own network looks like.
            logger.info("%s sent an event of %s, and not what it stands on: %s", origin, room_id, error)
            return Result(Fate.UNPLACED, "What the event stands on could not be fetched.")
        except (InvalidEvent, InvalidSignature) as error:
            return Result(Fate.INVALID, str(error))

    async def _decide(self, origin: str, room_id: str, pdu: Any) -> Result:
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            return await self._place_outside(origin, room_id, pdu)
        if not has_member_of(room.committed, self._server_name):
            return await self._place_outside(origin, room_id, pdu)
        if not await self._access.is_allowed(origin, room):
            # ACLs: "Servers MUST ... reject each PDU" of a server that is denied.
            return Result(Fate.REFUSED, "Your server is banned from the room.")
        event = await self._check.check(pdu, room.rules, room_id)
        return _OF_VERDICT[await self._receive_pdu.receive(origin, event)]

    async def place_run(self, origin: str, room_id: str, pdus: Sequence[Any]) -> Sequence[Result]:
        """What became of the first ones, if these are plain messages at the room's end: the others are for `place`.

        On disk, all together. Raises `CommitFailed`.
        """
        try:
            room = await self._rooms.get(room_id)
            if not has_member_of(room.committed, self._server_name):
                return ()
            if not await self._access.is_allowed(origin, room):
                return ()
            events = await self._check_run(room, pdus)
            taken = await self._accept_run.accept(room_id, events)
        except UnknownRoom:
            return ()
        return [_OF_VERDICT[Verdict.ACCEPTED]] * taken

    async def _check_run(self, room: LiveRoom, pdus: Sequence[Any]) -> list[Event]:
        events: list[Event] = []
        latest = [head.event_id for head in room.heads]
        for pdu in pdus:
            # Nobody's signature is looked at twice for nothing.
            if not isinstance(pdu, dict) or "state_key" in pdu or pdu.get("prev_events") != latest:
                break
            try:
                events.append(await self._check.check(pdu, room.rules, room.room_id))
            except (FederationError, InvalidEvent, InvalidSignature):
                break
            latest = [events[-1].event_id]
        return events

    async def _place_outside(self, origin: str, room_id: str, pdu: Any) -> Result:
        """Of a room that nobody here is in: the end of an invite or a knock, or nothing to us."""
        try:
            refusal = await self._retract.receive(origin, room_id, pdu)
        except MembershipMovedOn:
            # This server may be in the room by now.
            return await self._decide(origin, room_id, pdu)
        return Result(Fate.ACCEPTED if refusal is None else Fate.REFUSED, refusal)
