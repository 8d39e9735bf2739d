"""Create a room. Source: client-server API, create_room."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from federation.room_dag.auth_rules.errors import NotAllowed as AuthRulesNotAllowed
from federation.room_dag.event import InvalidEvent
from federation.room_dag.identifiers import domain_of, is_room_alias, is_user_id
from federation.room_dag.room_versions import RoomRules, UnknownRoomVersion, get_room_rules
from federation.rooms.create_room import CreateRoom as AppendRoom
from popcube_server.services.errors import BadJson, InvalidParam, Refusal, TooLarge, WithCode
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.change_membership import ChangeMembership
from popcube_server.services.rooms.invite_by_address import AddressInvite, InviteByAddress
from popcube_server.services.rooms.invite_permission import InvitePermission
from popcube_server.services.rooms.membership_content import MemberProfiles, member_content
from popcube_server.services.rooms.membership_limits import MembershipLimits
from popcube_server.services.rooms.resolve_alias import ResolveAlias
from popcube_server.services.rooms.room_options import (
    PRESETS,
    RoomOptions,
    StateDraft,
    create_content,
    name_and_topic,
    power_levels,
    preset_state,
)
from popcube_server.services.rooms.send_state import check_power_levels
from popcube_server.services.rooms.suspensions import Suspensions
from storage.change import Change, Conflict
from storage.directory import AddAlias, PublishRoom
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.rooms import RoomsSection

logger = logging.getLogger(__name__)

MAX_INVITES = 500
MAX_ADDRESS_INVITES = 20
MAX_INITIAL_STATE = 500
"""Events of `initial_state`: all of them are made, checked and signed in one go."""


@dataclass(frozen=True, slots=True)
class RoomMakers:
    """What creating a room uses besides the engine."""

    memberships: ChangeMembership
    """Without limits: those of `limits` are spent before there is a room."""
    by_address: InviteByAddress
    limits: MembershipLimits
    profiles: MemberProfiles
    aliases: ResolveAlias
    permission: InvitePermission
    suspensions: Suspensions


class CreateRoom:
    """All events of a new room but the invites go into one commit; the invites follow one by one."""

    def __init__(
        self,
        append_room: AppendRoom,
        makers: RoomMakers,
        limiter: RateLimiter,
        config: RoomsSection,
        server_name: str,
    ) -> None:
        self._append_room = append_room
        self._makers = makers
        self._limiter = limiter
        self._config = config
        self._server_name = server_name

    async def create(self, requester: Requester, options: RoomOptions) -> str:
        """The room's ID. If anything is refused, there is no room."""
        await self._makers.suspensions.check_not_suspended(requester.user_id)
        rules = self._rules(options)
        _check_options(options, rules)
        if options.invite or options.invite_by_address:
            self._makers.permission.check_may_invite(requester)
        blocked = await self._check_invites(options)
        alias = await self._alias(options)
        invited = [one for one in options.invite if one != requester.user_id and one not in blocked]
        self._limiter.check(requester.user_id)
        if invited:
            self._makers.limits.spend_invites(requester.user_id, invited)
        self._limiter.spend(requester.user_id)
        room_id = await self.create_unchecked(requester.user_id, options, rules, alias)
        for user_id in invited:
            await self._invite(requester, room_id, user_id, options.is_direct)
        for address in options.invite_by_address:
            await self._invite_by_address(requester, room_id, address)
        return room_id

    async def _invite(self, requester: Requester, room_id: str, user_id: str, is_direct: bool) -> None:
        try:
            await self._makers.memberships.invite(requester, room_id, user_id, None, is_direct)
        except Refusal as error:
            if domain_of(user_id) == self._server_name:
                raise
            # The room is there, and one server that says no, or nothing, does not undo it: who is in the room and who
            # is invited can be seen there.
            logger.info("%s was not invited to the new room %s: %s", user_id, room_id, error)

    async def _invite_by_address(self, requester: Requester, room_id: str, invite: AddressInvite) -> None:
        try:
            await self._makers.by_address.invite(requester, room_id, invite)
        except (Refusal, AuthRulesNotAllowed) as error:
            # As above: the room is there.
            logger.info("Nobody was invited by address to the new room %s: %s", room_id, error)

    async def create_unchecked(
        self, creator: str, options: RoomOptions, rules: RoomRules, alias: str | None, *others: Change
    ) -> str:
        """A room without invites, for callers that have done the checks."""
        member = await member_content(self._makers.profiles, creator, "join")
        drafts = self._drafts(options, rules, creator, member, alias)

        def changes(room_id: str) -> Sequence[Change]:
            made: list[Change] = [*others]
            if alias is not None:
                made.append(AddAlias(alias, room_id, creator))
            if options.visibility == "public":
                made.append(PublishRoom(room_id, True))
            return made

        try:
            made = await self._append_room.create(
                rules, creator, create_content(options, rules, creator), lambda room_id: drafts, changes
            )
        except Conflict:
            raise WithCode(400, "M_ROOM_IN_USE", "That alias is taken.") from None
        except AuthRulesNotAllowed as error:
            raise WithCode(
                400, "M_INVALID_ROOM_STATE", f"This initial state is not allowed: {error}"
            ) from None
        except InvalidEvent as error:
            raise BadJson(str(error)) from None
        return made.room_id

    def _rules(self, options: RoomOptions) -> RoomRules:
        version = options.room_version or self._config.default_room_version
        try:
            return get_room_rules(version)
        except UnknownRoomVersion:
            raise WithCode(
                400, "M_UNSUPPORTED_ROOM_VERSION", "This server does not know that room version."
            ) from None

    async def _check_invites(self, options: RoomOptions) -> set[str]:
        """The users who want no invites: the room is made without them, as the specification permits."""
        if len(options.invite_by_address) > MAX_ADDRESS_INVITES:
            raise InvalidParam(f"A room can be created with at most {MAX_ADDRESS_INVITES} of 'invite_3pid'.")
        if len(options.invite) > MAX_INVITES:
            raise InvalidParam(f"A room can be created with at most {MAX_INVITES} invites.")
        blocked = set()
        for user_id in options.invite:
            if not is_user_id(user_id):
                raise InvalidParam(f"{user_id[:255]!r} is not a user ID.")
            if domain_of(user_id) == self._server_name and await self._makers.permission.is_blocked(user_id):
                blocked.add(user_id)
        return blocked

    async def _alias(self, options: RoomOptions) -> str | None:
        if options.room_alias_name is None:
            return None
        alias = f"#{options.room_alias_name}:{self._server_name}"
        if not options.room_alias_name or ":" in options.room_alias_name or not is_room_alias(alias):
            raise InvalidParam("That is no name for an alias: give the part between '#' and ':'.")
        if await self._makers.aliases.find(alias) is not None:
            raise WithCode(400, "M_ROOM_IN_USE", "That alias is taken.")
        return alias

    def _drafts(
        self,
        options: RoomOptions,
        rules: RoomRules,
        creator: str,
        member: Mapping[str, Any],
        alias: str | None,
    ) -> list[StateDraft]:
        override = self._config.default_power_level_content_override.get(options.effective_preset)
        levels = power_levels(options, rules, creator, override if isinstance(override, dict) else {})
        check_power_levels(levels)
        # The order is the specification's.
        drafts: list[StateDraft] = [("m.room.member", creator, member)]
        if ("m.room.power_levels", "") not in {draft[:2] for draft in options.initial_state}:
            drafts.append(("m.room.power_levels", "", levels))
        if alias is not None:
            drafts.append(("m.room.canonical_alias", "", {"alias": alias}))
        drafts.extend(preset_state(options, self._is_encrypted(options)))
        drafts.extend(options.initial_state)
        drafts.extend(name_and_topic(options))
        return drafts

    def _is_encrypted(self, options: RoomOptions) -> bool:
        which = self._config.encryption_enabled_by_default_for_room_type
        return which == "all" or (which == "invite" and options.effective_preset != "public_chat")


def _check_options(options: RoomOptions, rules: RoomRules) -> None:
    if options.effective_preset not in PRESETS:
        raise InvalidParam(f"'preset' must be one of: {', '.join(PRESETS)}.")
    if len(options.initial_state) > MAX_INITIAL_STATE:
        raise TooLarge(f"'initial_state' may have at most {MAX_INITIAL_STATE} events.")
    for event_type, _, content in options.initial_state:
        if event_type in ("m.room.create", "m.room.member"):
            raise WithCode(400, "M_INVALID_ROOM_STATE", f"'initial_state' may not have {event_type}.")
        if event_type == "m.room.power_levels":
            check_power_levels(content)
    additional = (options.creation_content or {}).get("additional_creators")
    if rules.privileged_creators and additional is not None:
        is_list = isinstance(additional, list)
        if not is_list or not all(isinstance(user, str) and is_user_id(user) for user in additional):
            raise InvalidParam("'additional_creators' must be a list of user IDs.")
