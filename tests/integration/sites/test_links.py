"""Two processes that are one organisation."""

import socket
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.federation.peers import eventually
from tests.integration.sites.sites import HOST, TwoSites
from tests.support.configuration import Database, SqliteFile
from tests.support.http_client import MatrixClient
from tests.support.postgres import postgres_database


class LinksTests(SynchronousTestCase):
    """Site `anna` is on PostgreSQL, `berta` on SQLite."""

    def setUp(self) -> None:
        super().setUp()
        databases: tuple[Database, Database] = (postgres_database(self), SqliteFile())
        self.sites = TwoSites(Path(self.mktemp()).resolve(), databases)
        self.addCleanup(self.sites.kill9)
        self.sites.start()

    def client(self, site: str, token: str | None = None) -> MatrixClient:
        client = MatrixClient(self.sites.url(site), token)
        self.addCleanup(client.close)
        return client

    def texts(self, client: MatrixClient, room_id: str) -> set[str]:
        answer = client.get(f"/rooms/{room_id}/messages", {"dir": "b", "limit": 100})
        if answer.status != 200:
            return set()
        return {
            event["content"].get("body")
            for event in answer.json["chunk"]
            if event["type"] == "m.room.message"
        }

    def test_a_user_goes_on_at_the_other_site_and_over_a_cut(self) -> None:
        alice = self.client("anna")
        alice.register("alice")
        room_id = alice.post("/createRoom", {"preset": "public_chat"}).expect(200)["room_id"]
        self.send(alice, room_id, "one")
        there = self.client("berta", alice.access_token)
        eventually(lambda: self.texts(there, room_id) == {"one"}, "the message is at berta")
        self.sites.cut()
        self.send(alice, room_id, "two")
        self.send(there, room_id, "three")
        self.sites.heal()
        wanted = {"one", "two", "three"}
        eventually(lambda: self.texts(there, room_id) == wanted, "all messages are at berta")
        eventually(lambda: self.texts(alice, room_id) == wanted, "all messages are at anna")

    def send(self, client: MatrixClient, room_id: str, text: str) -> None:
        path = f"/rooms/{room_id}/send/m.room.message/{text}"
        client.put(path, {"msgtype": "m.text", "body": text}).expect(200)

    def test_strangers_do_not_reach_the_link(self) -> None:
        port = self.sites.plans["anna"].port
        self.assertEqual(self.ask(self.plain(port)), b"")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            connection: Any = self.without_certificate(port)
            self.assertNotIn(b"HTTP/1.1 200", self.ask(connection))
            raise ssl.SSLError("closed without an answer")

    def plain(self, port: int) -> socket.socket:
        return socket.create_connection((HOST, port), 10)

    def without_certificate(self, port: int) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(self.plain(port))

    def ask(self, connection: socket.socket) -> bytes:
        with closing(connection):
            connection.sendall(b"GET /_popcube/sites/v1/cursor?log=x HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                return connection.recv(4096)
            except ConnectionError:
                return b""
