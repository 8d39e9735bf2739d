"""Invite somebody of whom only an e-mail address or a telephone number is known.

Source: client-server API, "Third-party invites".
"""

import logging
from typing import Any

from federation.identity.identity_servers import (
    Address,
    IdentityAccess,
    IdentityServerFailed,
    IdentityServerRefused,
    IdentityServers,
    StoredInvite,
)
from federation.room_dag.identifiers import is_user_id
from federation.rooms.draft import Draft
from federation.rooms.event_store import EventStore
from federation.rooms.live_rooms import LiveRooms, UnknownRoom
from federation.rooms.room_state import MEMBER
from popcube_server.services.errors import InvalidParam, NotAllowed, Refusal, WithCode
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.change_membership import ChangeMembership
from popcube_server.services.rooms.invite_permission import InvitePermission
from popcube_server.services.rooms.suspensions import Suspensions
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

MAX_ADDRESS_CHARS = 320
MAX_TOKEN_CHARS = 1024
_MEDIA = ("email", "msisdn")
# What an identity server may say in its own words; the rest is told as a failure.
_PASSED_ON = ("M_TERMS_NOT_SIGNED", "M_UNAUTHORIZED", "M_FORBIDDEN", "M_INVALID_EMAIL", "M_LIMIT_EXCEEDED")


@dataclass(frozen=True, slots=True)
class AddressInvite:
    """As the client says it; nothing of it checked."""

    id_server: str
    id_access_token: str
    medium: str
    address: str
    is_direct: bool = False
    """The room is for the two of them."""


class InviteByAddress:
    def __init__(
        self,
        identity: IdentityServers,
        memberships: ChangeMembership,
        writer: RoomWriter,
        rooms: LiveRooms,
        events: EventStore,
        permission: InvitePermission,
        suspensions: Suspensions,
        limiter: RateLimiter,
    ) -> None:
        self._identity = identity
        self._memberships = memberships
        self._writer = writer
        self._rooms = rooms
        self._events = events
        self._permission = permission
        self._suspensions = suspensions
        self._limiter = limiter

    async def invite(self, requester: Requester, room_id: str, invite: AddressInvite) -> None:
        """Invite the user who has the address, or leave an invite for whoever will have it."""
        access, address = _checked(invite)
        await self._check_may_invite(requester, room_id)
        self._limiter.spend(requester.user_id)
        try:
            user_id = await self._identity.lookup(access, address)
            if user_id is None:
                user_id = await self._store(requester, room_id, access, address)
        except IdentityServerRefused as refused:
            raise _refusal(refused) from None
        except IdentityServerFailed as error:
            # What went wrong on the way is not told: it may say what our own network looks like.
            logger.info("The identity server %.255r is of no use: %s", access.server, error)
            raise WithCode(502, "M_UNKNOWN", "The identity server cannot be used.") from None
        if user_id is not None:
            if not is_user_id(user_id):
                raise WithCode(502, "M_UNKNOWN", "The identity server named somebody who is no user.")
            await self._memberships.invite(requester, room_id, user_id, None, invite.is_direct)

    async def _check_may_invite(self, requester: Requester, room_id: str) -> None:
        # The identity server hears nothing of who may not invite.
        try:
            room = await self._rooms.get(room_id)
        except UnknownRoom:
            raise NotAllowed("You are not in this room.") from None
        if not room.committed.is_joined(requester.user_id):
            raise NotAllowed("You are not in this room.")
        if room.power_levels.user_level(requester.user_id) < room.power_levels.invite:
            raise NotAllowed("You may not invite people into this room.")
        await self._suspensions.check_not_suspended(requester.user_id)
        self._permission.check_may_invite(requester)

    async def _store(
        self, requester: Requester, room_id: str, access: IdentityAccess, address: Address
    ) -> str | None:
        """Send the invite into the room as one for whoever has the address; or the user who has it by now."""
        about = await self._about(room_id, requester.user_id)
        try:
            stored = await self._identity.store_invite(access, address, about)
        except IdentityServerRefused as refused:
            # The identity service's word for an address that was bound since we looked.
            user_id = refused.body.get("mxid")
            if refused.errcode == "M_THREEPID_IN_USE" and isinstance(user_id, str):
                return user_id
            raise
        content = _content(stored)
        await self._writer.append(
            Draft(room_id, "m.room.third_party_invite", requester.user_id, stored.token, content)
        )
        return None

    async def _about(self, room_id: str, user_id: str) -> dict[str, str]:
        """What the message to the invited person may say of room and sender."""
        entries = (await self._rooms.get(room_id)).committed.entries
        wanted = {
            ("m.room.canonical_alias", ""): {"alias": "room_alias"},
            ("m.room.avatar", ""): {"url": "room_avatar_url"},
            ("m.room.join_rules", ""): {"join_rule": "room_join_rules"},
            ("m.room.name", ""): {"name": "room_name"},
            ("m.room.create", ""): {"type": "room_type"},
            (MEMBER, user_id): {"displayname": "sender_display_name", "avatar_url": "sender_avatar_url"},
        }
        ids = {pair: event_id for pair in wanted if (event_id := entries.get(pair)) is not None}
        events = await self._events.get_many(ids.values())
        about = {"room_id": room_id, "sender": user_id}
        for pair, event_id in ids.items():
            content = events[event_id].event.content if event_id in events else {}
            for key, name in wanted[pair].items():
                if isinstance(content.get(key), str):
                    about[name] = content[key]
        return about


def _checked(invite: AddressInvite) -> tuple[IdentityAccess, Address]:
    if invite.medium not in _MEDIA:
        raise InvalidParam("'medium' must be 'email' or 'msisdn'.")
    address = invite.address.strip()
    # Appendices, "3PID types": e-mail addresses "converted to lowercase".
    if invite.medium == "email":
        address = address.casefold()
    is_plausible = "@" in address if invite.medium == "email" else address.isascii() and address.isdigit()
    if not is_plausible or len(address) > MAX_ADDRESS_CHARS or not address.isprintable() or " " in address:
        raise InvalidParam("'address' is no such address.")
    token = invite.id_access_token
    if not token or len(token) > MAX_TOKEN_CHARS or not token.isascii() or not token.isprintable():
        raise InvalidParam("'id_access_token' is no token.")
    return IdentityAccess(invite.id_server, token), Address(invite.medium, address)


def _content(stored: StoredInvite) -> dict[str, Any]:
    keys = [{"public_key": key.public_key, "key_validity_url": key.validity_url} for key in stored.keys]
    return {
        "display_name": stored.display_name,
        # "This exists for backwards compatibility": the first of them.
        "public_key": keys[0]["public_key"],
        "key_validity_url": keys[0]["key_validity_url"],
        "public_keys": keys,
    }


def _refusal(refused: IdentityServerRefused) -> Refusal:
    if refused.errcode in _PASSED_ON:
        # Never 401: that is about the token of this server.
        status = 429 if refused.errcode == "M_LIMIT_EXCEEDED" else 403
        message = f"The identity server refused: {(refused.error or '')[:300]}"
        return WithCode(status, refused.errcode, message)
    return WithCode(502, "M_UNKNOWN", "The identity server refused the request.")
