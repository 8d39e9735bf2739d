"""Builds what other servers tell in passing, and what they may ask about users here."""

from collections.abc import Sequence

from federation.sending.edus import (
    DEVICE_LIST_UPDATE,
    DIRECT_TO_DEVICE,
    PRESENCE,
    RECEIPT,
    SIGNING_KEY_UPDATE,
    TYPING,
)
from federation.sending.sending_work import SendingWork
from popcube_server.building.core import Core
from popcube_server.building.rooms import RoomBase
from popcube_server.building.sending import Sending
from popcube_server.rest.client.openid import OpenId
from popcube_server.rest.federation.devices import Devices
from popcube_server.rest.federation.openid import OpenIdUserInfo
from popcube_server.rest.federation.queries import Queries
from popcube_server.services.edus.distrust_lists import DistrustLists
from popcube_server.services.edus.edu_rooms import EduRooms
from popcube_server.services.edus.expire_presence import INTERVAL_S as EXPIRY_INTERVAL_S
from popcube_server.services.edus.expire_presence import ExpirePresence
from popcube_server.services.edus.receive_device_lists import ReceiveDeviceList, ReceiveSigningKeys
from popcube_server.services.edus.receive_edus import EduObserver, EduService, ReceiveEdus
from popcube_server.services.edus.receive_presence import ReceivePresence
from popcube_server.services.edus.receive_receipts import ReceiveReceipts
from popcube_server.services.edus.receive_to_device import CLEANING_INTERVAL_S, ReceiveToDevice
from popcube_server.services.edus.receive_typing import ReceiveTyping
from popcube_server.services.edus.remote_device_lists import RemoteDeviceLists
from popcube_server.services.federation.answer_queries import AnswerQueries, QuerySettings
from popcube_server.services.federation.openid_tokens import OpenIdTokens
from popcube_server.services.federation.room_access import RoomAccess
from popcube_server.services.federation.rooms_for_servers import RoomsForServers
from popcube_server.services.followers.durable_follower import DurableFollower, FollowedLog
from popcube_server.services.keys.claim_keys import ClaimKeys
from popcube_server.services.keys.keys_elsewhere import KeysElsewhere
from popcube_server.services.periodic import Periodic
from popcube_server.services.rooms.resolve_alias import ResolveAlias
from popcube_server.services.typing.typing_notices import TypingNotices
from storage.directory import DirectoryRepository
from storage.followers import FollowersRepository
from storage.log import LogRepository
from storage.presence import PresenceRepository
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edus:
    """`receiver` takes the EDUs of transactions; `typing_notices` is started with what users do."""

    receiver: ReceiveEdus
    typing_notices: TypingNotices
    servlets: Sequence[object]
    parts: Sequence[SendingWork | RemoteDeviceLists | DurableFollower | Periodic]


def build_edus(
    core: Core, base: RoomBase, sending: Sending, observer: EduObserver, keys_elsewhere: KeysElsewhere
) -> Edus:
    server_name, database, committer, platform = (
        core.server_name,
        core.database,
        core.committer,
        core.platform,
    )
    typing = TypingNotices(committer, database, core.log, base.user_rooms, platform)
    rooms = EduRooms(RoomAccess(base.rooms, base.events, server_name), base.user_rooms)
    to_device = ReceiveToDevice(server_name, database, committer, platform, core.sites is None)
    services: dict[str, EduService] = {
        TYPING: ReceiveTyping(rooms, typing),
        RECEIPT: ReceiveReceipts(rooms, base.events, committer),
        DEVICE_LIST_UPDATE: ReceiveDeviceList(sending.shared, sending.device_lists, database, committer),
        SIGNING_KEY_UPDATE: ReceiveSigningKeys(sending.shared, sending.device_lists),
        DIRECT_TO_DEVICE: to_device,
    }
    parts: list[SendingWork | RemoteDeviceLists | DurableFollower | Periodic] = []
    if core.config.presence.is_tracked:
        presences = PresenceRepository()
        expiry = ExpirePresence(server_name, database, presences, committer, platform)
        services[PRESENCE] = ReceivePresence(
            sending.shared, base.joins, expiry, database, presences, committer, platform
        )
        parts.append(Periodic(platform, "forgetting who was online", EXPIRY_INTERVAL_S, expiry.expire))
    answer = AnswerQueries(
        QuerySettings(server_name, core.config.profiles.allow_profile_lookup_over_federation),
        database,
        sending.own_devices,
        ResolveAlias(database, DirectoryRepository(), server_name),
        sending.servers,
        RoomsForServers(base.rooms),
    )
    claim_keys = ClaimKeys(server_name, database, committer, sending.remote_keys, keys_elsewhere)
    openid = OpenIdTokens(database, committer, platform)
    source = FollowedLog(core.log, database, committer, platform, LogRepository(), FollowersRepository())
    distrust = DurableFollower(source, DistrustLists(server_name, database, base.rooms, committer))
    cleaning = Periodic(platform, "forgetting messages of devices", CLEANING_INTERVAL_S, to_device.clean)
    return Edus(
        ReceiveEdus(services, observer),
        typing,
        servlets=(
            Queries(answer),
            Devices(answer, claim_keys, server_name),
            OpenIdUserInfo(openid),
            OpenId(openid, server_name),
        ),
        parts=(*parts, sending.device_lists, distrust, cleaning, sending.work),
    )
