"""How much of everything is done, at full size and at reduced ones."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Operations are of one turn and, where several clients work side by side, of each client."""

    turns: int
    registrations: int
    logins: int
    rooms_created: int
    sends: int
    shared_room_members: int
    shared_room_senders: int
    listeners: int
    fan_out_messages: int
    fan_out_pause_s: float
    synced_rooms: int
    synced_members: int
    first_syncs: int
    empty_syncs: int
    message_syncs: int
    idle_clients: int
    idle_s: float
    big_room_members: int
    joins: int
    member_lists: int
    history_events: int
    page_events: int
    media_bytes: int
    media_files: int
    key_uploads: int
    one_time_keys: int
    queried_users: int
    key_queries: int
    claimed_users: int
    key_claims: int
    recipients: int
    to_device_sends: int
    huge_room_members: int
    huge_room_sends: int
    federated_members: int
    federated_events: int
    federated_sends: int
    federated_flood: int
    small_members: int
    large_members: int
    history_steps: int
    state_changes: int
    growth_sends: int


FULL = Sizes(
    turns=3,
    registrations=60,
    logins=100,
    rooms_created=12,
    sends=60,
    shared_room_members=50,
    shared_room_senders=20,
    listeners=50,
    fan_out_messages=20,
    fan_out_pause_s=1.0,
    synced_rooms=100,
    synced_members=20,
    first_syncs=3,
    empty_syncs=400,
    message_syncs=8,
    idle_clients=200,
    idle_s=15.0,
    big_room_members=500,
    joins=10,
    member_lists=60,
    history_events=3000,
    page_events=100,
    media_bytes=1 << 20,
    media_files=100,
    key_uploads=60,
    one_time_keys=50,
    queried_users=100,
    key_queries=100,
    claimed_users=20,
    key_claims=150,
    recipients=100,
    to_device_sends=15,
    huge_room_members=10_000,
    huge_room_sends=100,
    federated_members=1_000,
    federated_events=3_000,
    federated_sends=300,
    federated_flood=60,
    small_members=10,
    large_members=1000,
    history_steps=5000,
    state_changes=1000,
    growth_sends=60,
)
QUICK = Sizes(
    turns=1,
    registrations=10,
    logins=15,
    rooms_created=5,
    sends=15,
    shared_room_members=50,
    shared_room_senders=20,
    listeners=50,
    fan_out_messages=5,
    fan_out_pause_s=0.7,
    synced_rooms=20,
    synced_members=10,
    first_syncs=2,
    empty_syncs=60,
    message_syncs=5,
    idle_clients=100,
    idle_s=4.0,
    big_room_members=100,
    joins=5,
    member_lists=20,
    history_events=500,
    page_events=100,
    media_bytes=1 << 20,
    media_files=10,
    key_uploads=8,
    one_time_keys=50,
    queried_users=40,
    key_queries=20,
    claimed_users=20,
    key_claims=20,
    recipients=40,
    to_device_sends=10,
    huge_room_members=1000,
    huge_room_sends=20,
    federated_members=100,
    federated_events=300,
    federated_sends=60,
    federated_flood=15,
    small_members=10,
    large_members=100,
    history_steps=500,
    state_changes=100,
    growth_sends=30,
)
SMOKE = Sizes(
    turns=1,
    registrations=1,
    logins=1,
    rooms_created=1,
    sends=1,
    shared_room_members=4,
    shared_room_senders=2,
    listeners=3,
    fan_out_messages=2,
    fan_out_pause_s=0.02,
    synced_rooms=2,
    synced_members=3,
    first_syncs=1,
    empty_syncs=2,
    message_syncs=1,
    idle_clients=4,
    idle_s=0.2,
    big_room_members=4,
    joins=1,
    member_lists=1,
    history_events=6,
    page_events=2,
    media_bytes=1000,
    media_files=1,
    key_uploads=1,
    one_time_keys=2,
    queried_users=3,
    key_queries=1,
    claimed_users=2,
    key_claims=1,
    recipients=3,
    to_device_sends=1,
    huge_room_members=6,
    huge_room_sends=1,
    federated_members=4,
    federated_events=6,
    federated_sends=2,
    federated_flood=1,
    small_members=2,
    large_members=4,
    history_steps=4,
    state_changes=2,
    growth_sends=2,
)
