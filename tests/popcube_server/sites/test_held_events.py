"""An event that cannot become part of its room does not hold up its link: it is kept, and tried again."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from federation.room_dag.event import Event
from federation.rooms.accept_event import AcceptEvent, Verdict
from federation.sites.hold_events import PATIENCE_MS
from federation.sites.site_client import LINK, SiteClient
from federation.transport.errors import HttpRefusal
from federation.transport.https import HttpRequest, HttpResponse
from federation.transport.route import Route
from storage import held_back
from storage.database import WriteTransaction
from storage.engines.engine import StorageError, Unavailable
from storage.events import StoreEvent
from storage.held_back import HeldBackRepository
from storage.site_links import MoveSiteCursor, SiteLinksRepository
from tests.popcube_server.federation_receiving.far_server import found
from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import ANNA, BERTA, SitesTestCase

ROOM = "!far:one.example"
RETRY_S = 31
ANNA_LINK, BERTA_LINK = "https://link-anna.example:8449", "https://link-berta.example:8449"


class HeldEventsTests(SitesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.there = self.at_berta(self.alice)
        self.room_id = self.given_room(self.alice)
        self.given_message(self.alice, self.room_id, "before")
        self.settle()
        # The link of the site itself is silent from here on; the test speaks in its place.
        self.kill(ANNA)
        self.dead.clear()
        self.client = SiteClient("berta", BERTA_LINK, self.signer_of(ANNA), self.network)
        self.position = self.ask(self.client.get("", LINK + "cursor", {"log": "anna"}))["position"]

    def ask(self, work: Any) -> Any:
        asking = Deferred.fromCoroutine(work)
        self.network.flush()
        for _ in range(20):
            self.clock.advance(0.2)
            self.network.flush()
        return self.successResultOf(asking)

    def send(self, *events: dict[str, Any], records: Sequence[dict[str, Any]] = ()) -> Any:
        """A batch with these events and records; the answer, or the status of a refusal."""
        body = {
            "site": "anna",
            "log": "anna",
            "after": self.position,
            "upto": self.position + len(events),
            "seen": 0,
            "events": list(events),
            "records": list(records),
        }

        async def post() -> Any:
            try:
                return await self.client.post("", LINK + "changes", body)
            except HttpRefusal as refusal:
                return refusal.status

        answer = self.ask(post())
        if isinstance(answer, dict):
            self.position = answer["position"]
        return answer

    def event(self, room_id: str, text: str, version: str = "11", **others: Any) -> dict[str, Any]:
        pdu = {
            "type": "m.room.message",
            "room_id": room_id,
            "sender": self.alice.user_id,
            "content": {"body": text},
            "depth": 9,
            "prev_events": ["$" + "A" * 43],
            "auth_events": ["$" + "B" * 43],
            "hashes": {"sha256": "x"},
            "signatures": {},
            "origin_server_ts": 1,
            **others,
        }
        return {"pdu": pdu, "room_id": room_id, "room_version": version, "soft_failed": False}

    def held(self) -> int:
        database = self.organisations[BERTA].core.database
        return database.read_now(HeldBackRepository().count).events

    def is_full(self) -> bool:
        """As `site status` says."""
        own = SiteClient("berta", BERTA_LINK, self.signer_of(BERTA), self.network)
        full: bool = self.ask(own.get("berta", LINK + "status"))["is_held_full"]
        return full

    def metric(self) -> bool:
        page = self.call("GET", "/metrics", headers={"Host": BERTA})[1]
        return f"popcube_site_held_events {self.held()}.0".encode() in page

    def test_an_event_of_an_unknown_room_version_is_kept_and_the_next_batch_taken(self) -> None:
        upto = self.position + 2
        answer = self.send(self.event(ROOM, "new", "999"), {**self.event(ROOM, "x"), "pdu": 5})
        self.assertEqual(answer["position"], upto)
        self.assertEqual(self.held(), 2)
        self.assertEqual(self.send()["position"], upto)
        # After a start, and then every now and then, it is tried again.
        self.restart(BERTA)
        for _ in range(3):
            self.clock.advance(RETRY_S)
        self.assertEqual(self.held(), 2)
        self.assertTrue(self.metric())

    def test_an_event_that_nobody_signed_is_kept(self) -> None:
        self.send(self.event(self.room_id, "forged", "12"))
        self.assertEqual(self.held(), 1)
        self.assertNotIn("forged", self.texts())

    def test_beyond_what_may_be_kept_a_batch_waits(self) -> None:
        unknown = {"clock": "1", "key": ["x"], "kind": "no.such", "owner": None, "site": "anna", "value": 1}
        patch = self.patch(held_back, "MAX_HELD", 2)
        self.send(self.event(ROOM, "1", "999"), self.event(ROOM, "2", "999"))
        upto = self.position
        self.assertEqual(self.send(self.event(ROOM, "3", "999")), 503)
        self.assertEqual(self.send(records=[unknown]), 503)
        self.assertEqual((self.position, self.held()), (upto, 2))
        self.assertTrue(self.is_full())
        # What need not be kept is taken, and what is kept already.
        self.assertEqual(self.send()["position"], upto)
        self.assertEqual(self.send(self.event(ROOM, "2", "999"))["position"], upto + 1)
        self.assertEqual(self.held(), 2)
        patch.restore()
        self.assertIn("position", self.send(self.event(ROOM, "3", "999"), records=[unknown]))
        self.assertEqual(self.held(), 3)
        self.assertFalse(self.is_full())

    def test_the_bound_is_one_of_bytes_too(self) -> None:
        patch = self.patch(held_back, "MAX_HELD_BYTES", 100)
        self.send(self.event(ROOM, "1" * 100, "999"))
        self.assertEqual(self.send(self.event(ROOM, "2", "999")), 503)
        patch.restore()
        self.send(self.event(ROOM, "2", "999"))
        self.assertEqual(self.held(), 2)

    def texts(self) -> list[str]:
        path = f"/_matrix/client/v3/rooms/{self.room_id}/messages?dir=b&limit=50"
        events = self.ok(self.get(path, self.there))["chunk"]
        return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


class MissingTests(SitesTestCase):
    """What an event stands on was lost on its way, and the peer does not give it."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.there = self.at_berta(self.alice)
        self.room_id = self.given_room(self.alice)
        self.settle()
        self.cut()
        self.other_room = self.given_room(self.alice)
        lost = MoveSiteCursor("anna", self.organisations[ANNA].core.log.position, 0)
        committing = Deferred.fromCoroutine(self.organisations[BERTA].core.committer.commit(lost))
        self.successResultOf(committing)
        self.network.far_servers["link-anna.example"] = self.give_nothing
        self.given_message(self.alice, self.other_room, "on nothing")
        self.given_message(self.alice, self.room_id, "behind it")

    def give_nothing(self, route: Route, request: HttpRequest) -> HttpResponse:
        return found({"errcode": "M_NOT_FOUND"}, 404)

    def wait(self, duration_s: float) -> None:
        for _ in range(round(duration_s)):
            self.clock.advance(1)
            self.network.flush()

    def texts(self, room_id: str) -> list[str]:
        path = f"/_matrix/client/v3/rooms/{room_id}/messages?dir=b&limit=50"
        status, answer = self.get(path, self.there)
        events = answer["chunk"] if status == 200 else []
        return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]

    def held(self) -> int:
        database = self.organisations[BERTA].core.database
        return database.read_now(HeldBackRepository().count).events

    def is_behind(self) -> bool:
        """Whether the other site waits for something."""
        cursors = self.organisations[BERTA].core.database.read_now(SiteLinksRepository().get_cursors)
        return cursors["anna"] < self.organisations[ANNA].core.log.position

    def test_it_is_waited_for_and_then_kept_until_it_can_be_had(self) -> None:
        self.network.down.clear()
        self.wait(PATIENCE_MS / 1000 / 2)
        # The peer is tried for a while: it may be about to have it.
        self.assertEqual((self.held(), self.is_behind()), (0, True))
        self.wait(PATIENCE_MS / 1000)
        self.assertEqual((self.held(), self.is_behind()), (1, False))
        self.assertEqual(self.texts(self.room_id), ["behind it"])
        # Nothing more of that room is waited for.
        self.given_message(self.alice, self.other_room, "on nothing too")
        self.given_message(self.alice, self.room_id, "last")
        self.wait(5)
        self.assertEqual((self.held(), self.texts(self.room_id)), (2, ["last", "behind it"]))
        del self.network.far_servers["link-anna.example"]
        self.heal()
        self.wait(200)
        self.assertEqual(self.held(), 0)
        self.assertEqual(sorted(self.texts(self.other_room)), ["on nothing", "on nothing too"])

    def test_while_the_peer_is_not_reached_nothing_is_given_up(self) -> None:
        del self.network.far_servers["link-anna.example"]
        self.network.down.discard("link-berta.example")
        self.wait(3 * PATIENCE_MS / 1000)
        self.assertEqual((self.held(), self.is_behind()), (0, True))
        self.heal()
        self.wait(15)
        self.assertEqual(self.held(), 0)
        self.assertEqual(self.texts(self.room_id), ["behind it"])
        self.assertEqual(self.texts(self.other_room), ["on nothing"])


class TwoRoomsCase(SitesTestCase):
    """Two rooms that both sites know."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.there = self.at_berta(self.alice)
        self.room_id, self.other_room = self.given_room(self.alice), self.given_room(self.alice)
        self.settle()


class UnwritableTests(TwoRoomsCase):
    """An event that the database of one site does not take, for a reason of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.cut()
        self.given_message(self.alice, self.other_room, "odd")
        self.given_message(self.alice, self.other_room, "on it")
        self.given_message(self.alice, self.room_id, "behind it")
        path = f"/_matrix/client/v3/user/{self.alice.user_id}/account_data/com.example.last"
        self.ok(self.put(path, {"number": 1}, self.alice))
        self.account_data = path

    def refuse_with(self, kind: type[Exception], reason: str) -> Any:
        write = StoreEvent.write

        def write_or_fail(tx: WriteTransaction, changes: Sequence[tuple[int, StoreEvent]]) -> Any:
            if any(b'"odd"' in change.json for _, change in changes):
                raise kind(reason)
            return write(tx, changes)

        return self.patch(StoreEvent, "write", write_or_fail)

    def test_it_is_tried_for_a_while_and_then_kept(self) -> None:
        refusing = self.refuse_with(StorageError, "invalid byte sequence")
        self.heal()
        self.assertEqual((self.texts(self.other_room), self.has_account_data()), ([], False))
        self.wait(2 * PATIENCE_MS // 1000)
        self.assertEqual((self.texts(self.other_room), self.has_account_data()), ([], True))
        self.assertEqual(self.texts(self.room_id), ["behind it"])
        refusing.restore()
        self.wait(300)
        self.assertEqual(self.texts(self.other_room), ["on it", "odd"])

    def test_so_is_one_that_does_not_get_as_far_as_the_database(self) -> None:
        self.refuse_with(ValueError, "a string cannot contain NUL")
        self.heal()
        self.wait(2 * PATIENCE_MS // 1000)
        # With the one that stands on it.
        self.assertEqual((self.held(), self.has_account_data()), (2, True))

    def test_nothing_is_kept_because_the_database_is_away(self) -> None:
        away = self.refuse_with(Unavailable, "away")
        self.heal()
        self.wait(3 * PATIENCE_MS // 1000)
        self.assertEqual((self.texts(self.other_room), self.has_account_data()), ([], False))
        away.restore()
        self.wait(15)
        self.assertEqual(self.texts(self.other_room), ["on it", "odd"])
        self.assertEqual(self.held(), 0)

    def held(self) -> int:
        return self.organisations[BERTA].core.database.read_now(HeldBackRepository().count).events

    def has_account_data(self) -> bool:
        return self.get(self.account_data, self.there)[0] == 200

    def texts(self, room_id: str) -> list[str]:
        path = f"/_matrix/client/v3/rooms/{room_id}/messages?dir=b&limit=50"
        events = self.ok(self.get(path, self.there))["chunk"]
        return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]

    def wait(self, duration_s: int) -> None:
        for _ in range(duration_s):
            self.clock.advance(1)
            self.network.flush()


class UnexpectedTests(TwoRoomsCase):
    """An event of which nobody had thought."""

    def setUp(self) -> None:
        super().setUp()
        accept = AcceptEvent.accept

        async def accept_or_fail(self: AcceptEvent, event: Event) -> Verdict:
            if event.content.get("body") == "odd":
                raise AttributeError("of a library")
            return await accept(self, event)

        self.mended = self.patch(AcceptEvent, "accept", accept_or_fail)

    def test_it_is_waited_for_and_then_kept(self) -> None:
        self.given_message(self.alice, self.other_room, "odd")
        self.given_message(self.alice, self.room_id, "behind it")
        path = f"/_matrix/client/v3/user/{self.alice.user_id}/account_data/com.example.last"
        self.ok(self.put(path, {"number": 1}, self.alice))
        self.wait(round(1.5 * PATIENCE_MS / 1000))
        self.assertEqual(self.texts(self.there, self.room_id), ["behind it"])
        self.assertEqual(self.texts(self.there, self.other_room), [])
        self.assertEqual(self.ok(self.get(path, self.there)), {"number": 1})
        self.mended.restore()
        self.wait(100)
        self.assertEqual(self.texts(self.there, self.other_room), ["odd"])

    def test_its_link_waits_and_says_so_while_nothing_more_can_be_kept(self) -> None:
        bound = self.patch(held_back, "MAX_HELD", 0)
        self.given_message(self.alice, self.other_room, "odd")
        self.wait(round(1.5 * PATIENCE_MS / 1000))
        link = self.link_at_anna()
        self.assertEqual((link["state"], link["backlog"] > 0), ("waiting", True))
        self.assertIn("kept for later already", link["last_error"])
        bound.restore()
        self.wait(15)
        link = self.link_at_anna()
        self.assertEqual((link["state"], link["backlog"], link["last_error"]), ("idle", 0, None))
        self.mended.restore()
        self.wait(100)
        self.assertEqual(self.texts(self.there, self.other_room), ["odd"])

    def link_at_anna(self) -> Any:
        """As `site status` shows it."""
        client = SiteClient("anna", ANNA_LINK, self.signer_of(ANNA), self.network)
        asking = Deferred.fromCoroutine(client.get("anna", LINK + "status"))
        self.wait(1)
        (link,) = self.successResultOf(asking)["peers"]
        return link

    def wait(self, duration_s: int) -> None:
        for _ in range(duration_s):
            self.clock.advance(1)
            self.network.flush()

    def texts(self, user: TestUser, room_id: str) -> list[str]:
        chunk = self.ok(self.get(f"/_matrix/client/v3/rooms/{room_id}/messages?dir=b&limit=50", user))[
            "chunk"
        ]
        return [event["content"]["body"] for event in chunk if event["type"] == "m.room.message"]
