"""Between two sites and another server: a front that is one server to it, and a watch on what it is sent."""

import asyncio
import json
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from yarl import URL

from federation.room_dag.hashes import derive_event_id
from federation.room_dag.room_versions import get_room_rules
from tests.integration.federation.authority import Identity
from tests.integration.federation.relay import Relay

HOST: Final = "127.0.0.1"
START_DEADLINE_S: Final = 10.0
ROOM_VERSIONS: Final = ("12", "11", "10")
"""A room of these tests has one of them."""
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
SEND: Final = "/_matrix/federation/v1/send/"
KEY_ID: Final = re.compile(r'key="?ed25519:([A-Za-z0-9_]+)')
# Of one hop only (RFC 9110, 7.6.1), or said anew by who passes on.
OF_ONE_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"}


class Front(Relay):
    """Leads to the first of the sites that takes a connection: to the others they are one server."""

    def __init__(self, port: int, targets: Mapping[str, int]) -> None:
        """`targets`: where each site listens to other servers."""
        super().__init__(HOST, port, 0)
        self._targets = dict(targets)
        self._order = list(targets)
        self.led: Counter[str] = Counter()
        """Connections by site."""

    def prefer(self, site: str) -> None:
        """From now on; connections that are open end."""
        self._order.sort(key=lambda name: name != site)
        self.cut()
        self.open()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for site in tuple(self._order):
            try:
                connection = await asyncio.open_connection(HOST, self._targets[site])
            except OSError:
                continue
            self.led[site] += 1
            return connection
        raise OSError("no site is there")


@dataclass(frozen=True)
class Transaction:
    """One that came through. Times are of `time.monotonic`; `status` 0: who sent it did not hear the answer."""

    site: str
    txn_id: str
    began_s: float
    ended_s: float
    status: int
    body: Mapping[str, Any]
    processed: frozenset[str]
    """The IDs of the events that the answer names. What it says nothing of is rightly sent again."""


class Watch:
    """Passes requests of the sites on to another server, and keeps the transactions. It runs in a thread of its own."""

    def __init__(self, port: int, target_port: int, host: str, identity: Identity, authority: Path) -> None:
        """`host` is the name in the other server's certificate, and `identity` is for the same name."""
        self._port = port
        self._target = f"https://{HOST}:{target_port}"
        self._host = host
        self._server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._server_side.load_cert_chain(identity.certificate, identity.private_key)
        self._client_side = ssl.create_default_context(cafile=str(authority))
        self._client: aiohttp.ClientSession | None = None
        self._loop = asyncio.new_event_loop()
        self._transactions: list[Transaction] = []
        self._under_way: dict[int, tuple[str, float]] = {}
        self.answer_delay_s = 0.0
        """How long answers to transactions are kept back."""
        threading.Thread(target=self._loop.run_forever, name=f"watch {port}", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(START_DEADLINE_S)

    @property
    def transactions(self) -> Sequence[Transaction]:
        """All that have ended, in the order of their ends."""
        return tuple(self._transactions)

    @property
    def is_busy(self) -> bool:
        """A transaction is under way."""
        return bool(self._under_way)

    async def _start(self) -> None:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._pass_on)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST, self._port, ssl_context=self._server_side).start()

    async def _pass_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        found = KEY_ID.search(request.headers.get("Authorization", ""))
        is_transaction = request.method == "PUT" and request.raw_path.startswith(SEND) and found is not None
        if not is_transaction:
            return await self._ask(request, body)
        assert found is not None
        site, began_s = found[1], time.monotonic()
        self._under_way[id(request)] = (site, began_s)
        status = 0
        processed: frozenset[str] = frozenset()
        try:
            answer = await self._ask(request, body)
            processed = _processed(answer)
            await asyncio.sleep(self.answer_delay_s)
            if request.transport is not None and not request.transport.is_closing():
                status = answer.status
        finally:
            del self._under_way[id(request)]
            txn_id = unquote(request.raw_path.removeprefix(SEND).partition("?")[0])
            ended_s = time.monotonic()
            self._transactions.append(
                Transaction(site, txn_id, began_s, ended_s, status, json.loads(body), processed)
            )
        return answer

    async def _ask(self, request: web.Request, body: bytes) -> web.Response:
        assert self._client is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in OF_ONE_HOP}
        try:
            async with self._client.request(
                request.method,
                URL(self._target + request.raw_path, encoded=True),
                headers=headers,
                data=body or None,
                ssl=self._client_side,
                server_hostname=self._host,
                allow_redirects=False,
            ) as response:
                content = await response.read()
                kept = {
                    name: value
                    for name, value in response.headers.items()
                    if name.lower() not in OF_ONE_HOP - {"content-encoding"}
                }
                return web.Response(status=response.status, body=content, headers=kept)
        except aiohttp.ClientError:
            # The server behind is down, and who asks is to see no answer of another one.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)


def _processed(answer: web.Response) -> frozenset[str]:
    if answer.status != 200:
        return frozenset()
    assert isinstance(answer.body, bytes)
    return frozenset(json.loads(answer.body)["pdus"])


def sent_again(transactions: Sequence[Transaction]) -> list[str]:
    """IDs of events that came in more than one transaction although an earlier one had been answered for them."""
    again = []
    answered: dict[str, str] = {}
    for transaction in sorted(transactions, key=lambda each: each.began_s):
        for pdu in transaction.body["pdus"]:
            event_ids = [derive_event_id(pdu, get_room_rules(version)) for version in ROOM_VERSIONS]
            if answered.get(event_ids[0], transaction.txn_id) != transaction.txn_id:
                again.append(event_ids[0])
            elif transaction.status == 200 and not transaction.processed.isdisjoint(event_ids):
                answered[event_ids[0]] = transaction.txn_id
    return again


def side_by_side(transactions: Sequence[Transaction]) -> list[tuple[Transaction, Transaction]]:
    """Pairs that were under way at the same time."""
    in_order = sorted(transactions, key=lambda each: each.began_s)
    return [
        (one, other)
        for number, one in enumerate(in_order)
        for other in in_order[number + 1 :]
        if other.began_s < one.ended_s
    ]


def pdus(transactions: Sequence[Transaction], is_wanted: Callable[[Any], bool]) -> list[Any]:
    """In the order in which they came, as often as they came."""
    return [pdu for each in transactions for pdu in each.body["pdus"] if is_wanted(pdu)]
