"""Builds what is sent to other servers, and what is known of their users' keys."""

from federation.sending.batch import Batches
from federation.sending.deliveries import Deliveries
from federation.sending.destination_queue import QueueLimits
from federation.sending.device_changes import DeviceChanges
from federation.sending.ephemeral import EphemeralEdus, SharingServers
from federation.sending.missed import Missed
from federation.sending.newcomer_heads import NewcomerHeads
from federation.sending.own_devices import OwnDevices
from federation.sending.place import OwnPlace, SharedPlace
from federation.sending.presence_newcomers import PresenceNewcomers
from federation.sending.presence_renewal import PresenceRenewal
from federation.sending.receipt_pace import ReceiptPace
from federation.sending.refusals import Refusals
from federation.sending.room_servers import RoomServers
from federation.sending.send_transaction import SendTransaction
from federation.sending.sender import Position, Sender, SenderSources
from federation.sending.sending_duty import SendingDuty
from federation.sending.sending_tools import SendingTools
from federation.sending.sending_work import NewSender, SendingWork
from popcube_server.building.core import Core
from popcube_server.building.federation import Federation
from popcube_server.building.rooms import RoomBase
from popcube_server.services.edus.ask_servers import AskServers
from popcube_server.services.edus.query_remote_keys import QueryRemoteKeys
from popcube_server.services.edus.remote_device_lists import RemoteDeviceLists
from popcube_server.services.edus.remote_inboxes import OutgoingMessages
from popcube_server.services.edus.shared_rooms import SharedRooms
from storage.log import LogRepository
from synapse_like_config.lazy_dataclasses import dataclass

ROOMS_IN_MEMORY = 20_000
"""Of which the servers are counted."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What others use of it. `work` and `device_lists` are parts."""

    ask: AskServers
    servers: RoomServers
    shared: SharedRooms
    own_devices: OwnDevices
    device_lists: RemoteDeviceLists
    remote_keys: QueryRemoteKeys
    outgoing_messages: OutgoingMessages
    work: SendingWork


def build_sending(core: Core, base: RoomBase, federation: Federation) -> Sending:
    server_name, database, committer = core.server_name, core.database, core.committer
    are_names_shown = core.config.profiles.allow_device_name_lookup_over_federation
    servers = RoomServers(base.rooms, ROOMS_IN_MEMORY)
    core.log.follow(servers.hear)
    sharing = SharingServers(base.user_rooms, servers)
    shared = SharedRooms(server_name, sharing)
    own_devices = OwnDevices(database, are_names_shown)
    ask = AskServers(federation.client)
    device_lists = RemoteDeviceLists(ask, database, committer)

    work = SendingWork(
        "" if core.sites is None else core.sites.log_id,
        lambda duty: _make_sender(core, base, federation, duty),
    )
    federation.metrics.watch(
        "outbound_queues", "Servers for which something waits.", lambda: work.queue_count
    )
    federation.metrics.watch(
        "outbound_paused", "Servers that do not answer, or refuse.", lambda: work.parked_count
    )
    return Sending(
        ask,
        servers,
        shared,
        own_devices,
        device_lists,
        QueryRemoteKeys(ask, device_lists, shared, database),
        OutgoingMessages(),
        work,
    )


def _make_sender(core: Core, base: RoomBase, federation: Federation, duty: SendingDuty) -> NewSender:
    """For as long as this site has the duty."""
    server_name, database, committer = core.server_name, core.database, core.committer
    receipts_per_second = core.config.rate_limits.federation_rr_transactions_per_room_per_second
    are_names_shown = core.config.profiles.allow_device_name_lookup_over_federation
    own_devices = OwnDevices(database, are_names_shown)
    # It counts for itself: in the order in which it reads the log.
    sender_servers = RoomServers(base.rooms, ROOMS_IN_MEMORY)
    sender_sharing = SharingServers(base.user_rooms, sender_servers)
    position = Position()
    batches = Batches(server_name, database, base.events, sender_servers, own_devices)
    tools = SendingTools(
        SendTransaction(federation.client),
        federation.back_off,
        database,
        committer,
        core.platform.clock,
        sender_servers,
        Missed(server_name, database, sender_servers, sender_sharing),
        batches,
        Refusals(core.config.federation.federation, core.platform.random),
        QueueLimits(),
    )
    deliveries = Deliveries(server_name, tools, position, duty)
    renewal = PresenceRenewal(server_name, database, core.platform.clock, sender_sharing, deliveries)
    newcomers = PresenceNewcomers(server_name, database, sender_servers)
    sources = SenderSources(
        core.log,
        database,
        committer,
        core.platform.clock,
        base.events,
        sender_servers,
        sender_sharing,
        EphemeralEdus(server_name, sender_servers, sender_sharing),
        ReceiptPace(core.platform.clock, receipts_per_second, deliveries.send_now),
        renewal if core.config.presence.is_tracked else None,
        NewcomerHeads(server_name, database, base.events, sender_servers),
        newcomers if core.config.presence.is_tracked else None,
        DeviceChanges(server_name, database, are_names_shown, duty.hold.epoch),
        LogRepository(),
        OwnPlace(database) if core.sites is None else SharedPlace(database, duty),
    )
    return NewSender(Sender(server_name, sources, deliveries, position), deliveries)
