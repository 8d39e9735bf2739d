"""The server's process: it starts, says where it listens, and ends as it was told."""

import http.client
import json
import socket
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.integration.sites.sites import free_port
from tests.support.configuration import SERVER_NAME
from tests.support.postgres import postgres_database
from tests.support.server_test_case import ServerProcessTestCase

LISTENER: Mapping[str, Any] = {"type": "http", "tls": False, "resources": [{"names": ["client"]}]}


class ProcessTests(ServerProcessTestCase):
    def test_it_answers_where_it_says_that_it_listens(self) -> None:
        nobody = self.client(self.start_server())
        self.assertEqual(nobody.get("/health").body, b"OK")
        self.assertEqual(nobody.get("/ping").body, b"pong")
        nobody.get("/_matrix/client/versions").expect(200)

    def test_accounts_and_rooms_outlive_a_restart_on_sqlite(self) -> None:
        server = self.start_server()
        alice = self.client(server).register("alice")
        room_id = alice.create_room(name="Kept")
        self.assertEqual(server.terminate(), 0)
        server.start()
        again = self.client(server).log_in("alice")
        self.assertEqual(again.user_id, f"@alice:{SERVER_NAME}")
        self.assertEqual(again.get("/joined_rooms").expect(200), {"joined_rooms": [room_id]})

    def test_accounts_and_rooms_outlive_a_restart_on_postgresql(self) -> None:
        server = self.start_server(postgres_database(self))
        alice = self.client(server).register("alice")
        room_id = alice.create_room(name="Kept")
        self.assertEqual(server.terminate(), 0)
        server.start()
        again = self.client(server).log_in("alice")
        self.assertEqual(again.get("/joined_rooms").expect(200), {"joined_rooms": [room_id]})

    def test_termination_answers_the_long_polls(self) -> None:
        server = self.start_server()
        alice = self.client(server).register("alice")
        since = alice.get("/sync").expect(200)["next_batch"]
        poll = http.client.HTTPConnection(urlsplit(server.base_url).netloc)
        self.addCleanup(poll.close)
        path = "/_matrix/client/v3/sync?" + urlencode({"since": since, "timeout": "600000"})
        poll.request("GET", path, headers={"Authorization": f"Bearer {alice.access_token}"})
        # The server reads its connections in the order of arrival: when this is answered, the poll has begun.
        alice.get("/account/whoami").expect(200)
        self.assertEqual(server.terminate(), 0)
        response = poll.getresponse()
        self.assertEqual(response.status, 200)
        self.assertIn("next_batch", json.loads(response.read()))

    def test_failure_shows_what_the_server_printed(self) -> None:
        class Failing(ServerProcessTestCase):
            def runTest(self) -> None:
                self.start_server()
                self.fail("on purpose")

        failing = Failing()
        failing.setUp()
        self.addCleanup(failing.doCleanups)
        with self.assertRaises(self.failureException) as raised:
            failing.runTest()
        self.assertIn("on purpose", str(raised.exception))
        self.assertIn("Listening on", str(raised.exception))


class ListenersTests(ServerProcessTestCase):
    def test_every_address_of_both_families_is_one_listener(self) -> None:
        port = free_port()
        listener = {**LISTENER, "port": port, "bind_addresses": ["::", "0.0.0.0"]}
        nobody = self.client(self.start_server(overrides={"listeners": [listener]}))
        nobody.get("/_matrix/client/versions").expect(200)
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/_matrix/client/versions")
            self.assertEqual(200, connection.getresponse().status)

    def test_a_port_that_is_taken_is_an_error_that_names_it(self) -> None:
        with closing(socket.create_server(("0.0.0.0", 0))) as taken:
            port = taken.getsockname()[1]
            first = {**LISTENER, "port": 0, "bind_addresses": ["127.0.0.1"]}
            second = {**LISTENER, "port": port, "bind_addresses": ["0.0.0.0"]}
            server = self.start_server(overrides={"listeners": [first, second]})
            self.assertEqual(1, server.wait())
        self.assertIn(f"Cannot listen on 0.0.0.0 port {port}: ", server.log_text())
