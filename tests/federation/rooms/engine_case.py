"""The base of tests of the room engine: an engine over a database, and rooms in one line."""

import random
from collections.abc import Mapping
from typing import Any

from nacl.signing import SigningKey

from federation.room_dag.room_versions import get_room_rules
from federation.room_dag.signing import EventSigner
from federation.rooms.create_room import CreateRoom
from federation.rooms.draft import Draft, TransactionKey
from federation.rooms.event_store import EventStore
from federation.rooms.live_room import LiveRoom
from federation.rooms.live_rooms import LiveRooms, RoomRepositories
from federation.rooms.outcomes import NoPushOutcomes
from federation.rooms.send_event import Author, SendEvent
from storage.event_rows import EventsRepository
from storage.memberships import MembershipsRepository
from storage.rooms import RoomsRepository
from storage.snapshots import SnapshotsRepository
from tests.storage.storage_case import StorageMixin

ALICE = "@alice:one.example"
BOB = "@bob:one.example"
EVE = "@eve:one.example"


class EngineMixin(StorageMixin):
    """An engine of the server `one.example`."""

    live_rooms = 100
    cached_events = 1000

    def open(self) -> None:
        super().open()
        self.random = random.Random(3)
        repositories = RoomRepositories(
            RoomsRepository(), EventsRepository(), SnapshotsRepository(), MembershipsRepository()
        )
        self.events = EventStore(self.database, repositories.events, self.log, self.cached_events)
        self.rooms = LiveRooms(self.database, repositories, self.events, self.log, self.live_rooms)
        signer = EventSigner("one.example", "ed25519:test", SigningKey(b"1" * 32))
        author = Author(signer, lambda: 1_000, lambda length: f"{self.random.getrandbits(64):0{length}x}")
        self.send_event = SendEvent(self.rooms, self.events, self.committer, NoPushOutcomes(), author)
        self.create_room = CreateRoom(self.rooms, self.events, self.committer, self.send_event, author)

    def given_room(self, version: str = "12", join_rule: str = "public") -> str:
        rules = get_room_rules(version)
        content: dict[str, Any] = {"room_version": version}
        if rules.creator_in_content:
            content["creator"] = ALICE
        levels: dict[str, Any] = {"users": {} if rules.privileged_creators else {ALICE: 100}}
        created = self.result(
            self.create_room.create(
                rules,
                ALICE,
                content,
                lambda room_id: [
                    ("m.room.member", ALICE, {"membership": "join"}),
                    ("m.room.power_levels", "", levels),
                    ("m.room.join_rules", "", {"join_rule": join_rule}),
                ],
                lambda room_id: (),
            )
        )
        return created.room_id

    def send(self, room_id: str, sender: str, text: str, transaction: TransactionKey | None = None) -> str:
        draft = Draft(room_id, "m.room.message", sender, None, {"body": text})
        return self.result(self.send_event.send(draft, transaction)).event_id

    def set_state(
        self, room_id: str, sender: str, event_type: str, state_key: str, content: Mapping[str, Any]
    ) -> str:
        draft = Draft(room_id, event_type, sender, state_key, content)
        return self.result(self.send_event.send(draft)).event_id

    def join(self, room_id: str, user_id: str) -> str:
        return self.set_state(room_id, user_id, "m.room.member", user_id, {"membership": "join"})

    def room(self, room_id: str) -> LiveRoom:
        return self.result(self.rooms.get(room_id))
