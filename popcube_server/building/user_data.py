"""Builds what users keep on the server and tell about themselves: account data, receipts, typing, presence, filters,
push rules, unread counts.
"""

from collections.abc import Sequence

from popcube_server.building.core import Core
from popcube_server.building.push import Push
from popcube_server.building.rooms import RoomBase
from popcube_server.rest.client.account_data import AccountDataEndpoints
from popcube_server.rest.client.filter import Filters
from popcube_server.rest.client.notifications import Notifications
from popcube_server.rest.client.presence import PresenceEndpoints
from popcube_server.rest.client.pusher import PusherEndpoints
from popcube_server.rest.client.pushrules import PushRulesEndpoints
from popcube_server.rest.client.read_markers import ReadMarkers
from popcube_server.rest.client.receipts import Receipts
from popcube_server.rest.client.tags import TagsEndpoints
from popcube_server.rest.client.typing import Typing
from popcube_server.services.account_data.account_data import AccountData
from popcube_server.services.account_data.synced_account_data import SyncedAccountData
from popcube_server.services.account_data.tags import Tags
from popcube_server.services.filters.stored_filters import StoredFilters
from popcube_server.services.presence.presence import Presence
from popcube_server.services.presence.read_presence import PresenceSettings, ReadPresence
from popcube_server.services.push.list_notifications import ListNotifications
from popcube_server.services.push.pushers import Pushers
from popcube_server.services.push.unread_counts import UnreadCounter
from popcube_server.services.receipts.send_receipt import ReadRepositories, SendReceipt
from popcube_server.services.receipts.synced_receipts import SyncedReceipts
from popcube_server.services.rooms.event_json import EventJson
from popcube_server.services.typing.synced_typing import SyncedTyping
from popcube_server.services.typing.typing_notices import TypingNotices
from storage.account_data import AccountDataRepository
from storage.filters import FiltersRepository
from storage.presence import PresenceRepository
from storage.pushers import PushersRepository
from storage.receipts import ReceiptsRepository
from storage.unread import UnreadRepository
from synapse_like_config.lazy_dataclasses import dataclass

FILTERS_IN_MEMORY = 20_000
UNREAD_COUNTS_IN_MEMORY = 200_000
"""One per user and room."""


@dataclass(frozen=True, slots=True)
class UserData:
    """What others use: mostly sync."""

    account_data: SyncedAccountData
    receipts: SyncedReceipts
    typing: SyncedTyping
    presence: ReadPresence
    activity: Presence
    unread: UnreadCounter
    filters: StoredFilters
    servlets: Sequence[object]
    parts: Sequence[TypingNotices | Presence]


def build_user_data(
    core: Core, base: RoomBase, push: Push, event_json: EventJson, typing: TypingNotices
) -> UserData:
    config, database, committer, log, platform = (
        core.config,
        core.database,
        core.committer,
        core.log,
        core.platform,
    )
    account_data = AccountDataRepository()
    receipts = ReceiptsRepository()
    unread = UnreadRepository()
    presence_rows = PresenceRepository()

    send_receipt = SendReceipt(
        database,
        ReadRepositories(receipts, account_data),
        committer,
        base.events,
        base.user_rooms,
        platform,
    )
    presence = Presence(
        core.server_name, committer, database, presence_rows, log, platform, config.presence.is_tracked
    )
    settings = PresenceSettings(config.presence.is_tracked, config.presence.include_offline_users_on_sync)
    read_presence = ReadPresence(database, presence_rows, presence, base.user_rooms, log, platform, settings)
    counter = UnreadCounter(database, unread, log, UNREAD_COUNTS_IN_MEMORY)
    core.metrics.cache("unread_counts", lambda: len(counter), lambda: counter.hits, lambda: counter.misses)
    filters = StoredFilters(database, FiltersRepository(), committer, FILTERS_IN_MEMORY)
    notifications = ListNotifications(database, unread, base.repositories.events, base.events, event_json)
    return UserData(
        SyncedAccountData(database, account_data, push.rules, log),
        SyncedReceipts(database, receipts, log),
        SyncedTyping(typing),
        read_presence,
        presence,
        counter,
        filters,
        servlets=(
            AccountDataEndpoints(AccountData(database, account_data, committer, push.rules)),
            TagsEndpoints(Tags(database, account_data, committer)),
            Receipts(send_receipt, presence),
            ReadMarkers(send_receipt, presence),
            Typing(typing, presence),
            PresenceEndpoints(presence, read_presence),
            Filters(filters),
            PushRulesEndpoints(push.rules),
            Notifications(notifications),
            PusherEndpoints(Pushers(database, PushersRepository(), committer)),
        ),
        parts=(typing, presence),
    )
