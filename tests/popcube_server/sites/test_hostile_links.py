"""What a peer may send to a link and what comes of it: nothing that it sends breaks this site, or the link for good."""

from collections.abc import Mapping
from typing import Any

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred

from federation.room_dag.signing import EventSigner
from federation.sites.batch import VERSION
from federation.sites.site_client import LINK, SiteClient
from federation.transport.errors import HttpRefusal
from federation.transport.https import HttpRequest, ResponseLimits
from federation.transport.route import Route, Target
from storage.replication.hybrid_clock import MAX_CLOCK
from storage.replication.kinds.all_kinds import ALL_KINDS
from tests.popcube_server.server_case import ONE, TWO
from tests.popcube_server.sites.sites_case import ANNA, BERTA, SitesTestCase

CHANGES = LINK + "changes"
HOST = "link-berta.example"


class HostileLinksTests(SitesTestCase):
    """The test is `anna`, and talks to `berta`."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.given_user("alice")
        self.there = self.at_berta(self.alice)
        self.room_id = self.given_room(self.alice)
        self.settle()
        self.kill(ANNA)
        self.dead.clear()
        self.client = self.client_of(self.signer_of(ANNA))
        self.position: int = self.ask(self.client.get("", LINK + "cursor", {"log": "anna"}))["position"]

    def client_of(self, signer: EventSigner) -> SiteClient:
        return SiteClient("berta", f"https://{HOST}:8449", signer, self.network)

    def ask(self, work: Any) -> Any:
        """The answer, or the status and error code of a refusal."""

        async def asked() -> Any:
            try:
                return await work
            except HttpRefusal as refusal:
                return refusal.status, refusal.errcode

        asking = Deferred.fromCoroutine(asked())
        for _ in range(20):
            self.clock.advance(0.2)
            self.network.flush()
        return self.successResultOf(asking)

    def batch(self, **others: Any) -> dict[str, Any]:
        plain = {"site": "anna", "log": "anna", "after": self.position, "upto": self.position + 1, "seen": 0}
        return {**plain, "events": [], "records": [], "version": VERSION, **others}

    def send(self, body: Mapping[str, Any], client: SiteClient | None = None) -> Any:
        return self.ask((client or self.client).post("", CHANGES, body))

    def record(self, name: str = "theme", **others: Any) -> dict[str, Any]:
        return {
            "kind": "account_data",
            "key": [self.alice.user_id, "", name],
            "value": {"n": 1},
            "clock": str(MAX_CLOCK // 2),
            "site": "anna",
            "owner": self.owner(),
            **others,
        }

    def owner(self) -> str:
        """The incarnation of Alice's account."""
        database = self.organisations[BERTA].core.database
        incarnation = database.read_now(
            lambda tx: tx.value("SELECT incarnation FROM accounts WHERE user_id = ?", (self.alice.user_id,))
        )
        return str(incarnation)

    def theme(self, name: str = "theme") -> Any:
        path = f"/_matrix/client/v3/user/{self.alice.user_id}/account_data/{name}"
        status, answer = self.get(path, self.there)
        return answer if status == 200 else None

    def assert_link_goes_on(self) -> None:
        """The next good batch is taken, and the site answers clients."""
        answer = self.send(self.batch(records=[self.record("last")]))
        self.assertEqual(answer["position"], self.position + 1)
        self.assertEqual(self.theme("last"), {"n": 1})
        self.given_message(self.there, self.room_id)

    def test_bodies_that_are_no_batch_are_refused(self) -> None:
        wrong: list[dict[str, Any]] = [{}, {"site": "anna"}]
        shapes: list[Any] = [None, -1, 2**63, True, "x", {}, [1]]
        for field in ("log", "after", "upto", "seen", "events", "records"):
            body = self.batch()
            del body[field]
            wrong.append(body)
            wrong += [self.batch(**{field: value}) for value in shapes]
            if field != "log":
                wrong.append(self.batch(**{field: "1"}))
        wrong = [body for body in wrong if not _is_good(body)]
        wrong += [
            self.batch(after=self.position + 1, upto=self.position),
            self.batch(version=VERSION + 1),
            self.batch(version=None),
            self.batch(events=[{}]),
            self.batch(events=[{"room_id": 1, "room_version": "1", "soft_failed": False, "pdu": {}}]),
            *(
                self.batch(records=[self.record() | {field: 5}])
                for field in ("kind", "key", "clock", "site", "owner")
            ),
            *(
                self.batch(records=[self.record(clock=clock)])
                for clock in ("", "-1", "+1", " 1", "1_0", "٣", str(MAX_CLOCK + 1), "9" * 5000)
            ),
        ]
        for body in wrong:
            answer = self.send(body)
            self.assertIn(answer[0] if isinstance(answer, tuple) else answer, (400, 403), str(body)[:300])
        self.assertIsNone(self.theme())
        self.assert_link_goes_on()

    def test_a_batch_that_comes_again_does_nothing_again(self) -> None:
        batch = self.batch(records=[self.record()])
        self.assertEqual(self.send(batch)["position"], self.position + 1)
        self.ok(
            self.put(f"/_matrix/client/v3/user/{self.alice.user_id}/account_data/theme", {"n": 2}, self.there)
        )
        before = self.organisations[BERTA].core.log.position
        self.assertEqual(self.send(batch)["position"], self.position + 1)
        self.assertEqual(self.theme(), {"n": 2})
        self.assertEqual(self.organisations[BERTA].core.log.position, before)
        self.position += 1
        self.assert_link_goes_on()

    def test_a_batch_that_leaves_something_out_is_refused(self) -> None:
        answer = self.send(
            self.batch(after=self.position + 5, upto=self.position + 6, records=[self.record()])
        )
        self.assertEqual(answer, (400, "M_BAD_JSON"))
        self.assertIsNone(self.theme())
        self.assert_link_goes_on()

    def test_a_site_speaks_for_itself_only(self) -> None:
        self.assertEqual(self.send(self.batch(site="berta")), (403, "M_FORBIDDEN"))
        self.assertEqual(self.send(self.batch(site="carla")), (403, "M_FORBIDDEN"))
        self.assertIsNone(self.theme())

    def test_who_is_no_peer_or_is_none_any_more_is_refused(self) -> None:
        stranger = EventSigner(ONE, "ed25519:carla", SigningKey(b"carla".ljust(32, b"0")))
        same_name = EventSigner(ONE, "ed25519:anna", SigningKey(b"other".ljust(32, b"0")))
        for signer in (stranger, same_name, self.signer_of(TWO)):
            for work in (
                self.client_of(signer).post("", CHANGES, self.batch(records=[self.record()])),
                self.client_of(signer).get("", LINK + "cursor", {"log": "anna"}),
                self.client_of(signer).get("", "/_matrix/federation/v1/event/$x"),
            ):
                self.assertEqual(self.ask(work), (401, "M_UNAUTHORIZED"))
        self.assertIsNone(self.theme())
        self.assert_link_goes_on()

    def test_a_request_that_is_changed_on_its_way_is_refused(self) -> None:
        sent: list[HttpRequest] = []
        self.network.observe = lambda request, response: sent.append(request)
        self.send(self.batch(records=[self.record()]))
        request = next(
            each for each in sent if each.uri == CHANGES and each.body is not None and b"theme" in each.body
        )
        assert request.body is not None
        changed = HttpRequest("POST", CHANGES, request.headers, request.body.replace(b'"n":1', b'"n":9'))
        route = Route((Target(HOST, 8449),), HOST, HOST)
        asking = Deferred.fromCoroutine(self.network.request(route, changed, ResponseLimits(10, 10_000)))
        self.network.flush()
        self.assertEqual(self.successResultOf(asking).status, 401)
        self.assertEqual(self.theme(), {"n": 1})

    def test_clients_and_other_servers_do_not_reach_the_link(self) -> None:
        self.assertEqual(self.post(CHANGES, self.batch(), self.there)[0], 404)
        self.assertEqual(self.get(LINK + "cursor?log=anna", self.there)[0], 404)

    def test_records_of_any_form_do_not_hold_up_the_link(self) -> None:
        shapes: list[Any] = [None, 0, "text", [], {}, {"user_id": 1}, [[[]]], 10**40, {"a": {"b": [None]}}]
        kinds = [kind.name for kind in ALL_KINDS]
        records = [
            self.record(kind=kind, key=key, value=value)
            for kind in (*kinds, "no.such")
            for key in ([], ["x"], [self.alice.user_id, "x"], [self.alice.user_id, "x", "y", "z"])
            for value in shapes
        ]
        for at in range(0, len(records), 200):
            batch = self.batch(records=records[at : at + 200])
            answer = self.send(batch)
            if not isinstance(answer, dict):
                # Something in it could not be written; it was looked for, and the link tries again.
                answer = self.send(batch)
            self.assertIsInstance(answer, dict, str(answer))
            self.position += 1
        self.assert_link_goes_on()

    def test_a_large_batch_is_refused_or_taken_and_the_next_one_taken(self) -> None:
        large = self.batch(records=[self.record(value={"text": "x" * 30_000_000})])
        answer = self.send(large)
        if isinstance(answer, dict):
            self.position += 1
        else:
            self.assertEqual(answer, (413, "M_TOO_LARGE"))
        self.assert_link_goes_on()


def _is_good(body: Mapping[str, Any]) -> bool:
    """What happens to be a batch after all."""
    return body.get("seen") == [1]
