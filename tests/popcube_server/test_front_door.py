"""What every request meets before a servlet does."""

import gc

from tests.popcube_server.server_case import ServerTestCase


class FrontDoorTests(ServerTestCase):
    def test_ping_answers_pong(self) -> None:
        self.assertEqual(self.get("/ping"), (200, b"pong"))

    def test_unknown_path_is_404(self) -> None:
        self.assert_refused(self.get("/_matrix/client/v3/nothing"), 404, "M_UNRECOGNIZED")

    def test_wrong_method_is_405(self) -> None:
        self.assert_refused(self.put("/ping", {}), 405, "M_UNRECOGNIZED")

    def test_unknown_host_is_404(self) -> None:
        self.assert_refused(self.call("GET", "/ping", server_name="three.example"), 404, "M_UNRECOGNIZED")

    def test_options_answers_everywhere(self) -> None:
        self.assertEqual(self.call("OPTIONS", "/_matrix/client/v3/nothing"), (200, {}))

    def test_metrics_of_one_organisation_do_not_count_the_other(self) -> None:
        self.get("/ping")
        self.get("/ping")
        self.call("GET", "/ping", server_name="two.example")
        one = self.get("/metrics")[1].decode()
        two = self.call("GET", "/metrics", server_name="two.example")[1].decode()
        self.assertIn('popcube_requests_total{code="200",endpoint="GET /ping"} 2.0', one)
        self.assertIn('popcube_requests_total{code="200",endpoint="GET /ping"} 1.0', two)

    def test_identifier_with_nul_is_not_found(self) -> None:
        self.assert_refused(self.get("/_matrix/client/v3/rooms/%00/state"), 404, "M_NOT_FOUND")

    def test_what_is_open_to_all_does_not_look_at_the_authorization(self) -> None:
        # Synapse signs its requests for keys as well.
        headers = {"Authorization": 'X-Matrix origin="far.example",key="ed25519:a",sig="YQ"'}
        self.assertEqual(self.call("GET", "/_matrix/key/v2/server", headers=headers)[0], 200)

    def test_nothing_of_a_refused_request_waits_for_the_search_for_garbage(self) -> None:
        alice = self.given_user("alice")
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        path = "/_matrix/client/v3/rooms/!none:one.example/send/m.room.message/1"
        # Of what holds only strings the collector knows nothing.
        content = {"msgtype": "m.text", "body": "long", "m.mentions": {"user_ids": []}}
        self.assert_refused(self.put(path, content, alice), 403, "M_FORBIDDEN")
        del content
        kept = [one for one in gc.get_objects() if isinstance(one, dict) and one.get("body") == "long"]
        self.assertEqual(kept, [])
