"""Large answers over real connections."""

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _installed_reactor
from twisted.internet.task import deferLater
from twisted.web.server import NOT_DONE_YET, Request

from federation.transport.body_pipe import FULL_BYTES, StreamedResponse, StreamLimits
from federation.transport.errors import AnswerTooLarge, TransportError, Unreachable
from federation.transport.https_client import HttpsClient
from federation.transport.streaming_client import StreamingClient
from tests.federation.transport.test_tls import GET, NAME, TlsCase, hello

reactor: Any = _installed_reactor
LARGE = StreamLimits(5, 64 * FULL_BYTES)


def headed(length: int, write: Callable[[Any], int]) -> Callable[[Request], int]:
    """A page with a Content-Length."""

    def page(request: Request) -> int:
        request.setHeader("Content-Length", str(length))
        return write(request)

    return page


def stop(request: Any) -> int:
    request.write(b"x")
    return NOT_DONE_YET


class StreamingTests(TlsCase):
    async def stream(
        self, write: Callable[[Request], bytes | int], limits: StreamLimits = LARGE
    ) -> tuple[HttpsClient, StreamedResponse]:
        client, port = self.make_client(), self.serve(write)
        return client, await client.stream(self.route(port), GET, limits)

    async def read_all(self, response: StreamedResponse) -> bytes:
        data = b""
        while piece := await response.body.read():
            data += piece
        return data

    async def test_large_body_is_read_in_pieces_and_the_connection_used_again(self) -> None:
        size = 20 * FULL_BYTES

        def page(request: Request) -> bytes:
            return b"x" * size

        client, response = await self.stream(page)
        self.assertEqual((response.status, response.length_bytes), (200, size))
        self.assertEqual(len(await self.read_all(response)), size)
        response.body.close()
        again = await client.stream(self.route(int(self.pages.hosts[0].partition(":")[2])), GET, LARGE)
        self.assertEqual(len(await self.read_all(again)), size)
        self.assertEqual(self.connected, ["127.0.0.1"])

    async def test_nothing_piles_up_while_nobody_reads(self) -> None:
        def page(request: Any) -> int:
            class Source:
                paused = False

                def resumeProducing(self) -> None:
                    self.paused = False
                    self.more()

                def more(self) -> None:
                    if not self.paused:
                        request.write(b"x" * 65536)
                        reactor.callLater(0, self.more)

                def pauseProducing(self) -> None:
                    self.paused = True

                def stopProducing(self) -> None:
                    self.paused = True

            # Twisted's server, paused, would not notice that the other end is gone.
            self.addCleanup(request.transport.abortConnection)
            source = Source()
            request.registerProducer(source, True)
            source.more()
            return NOT_DONE_YET

        _, response = await self.stream(page, StreamLimits(5, 1 << 40))
        while response.body._waiting_bytes < FULL_BYTES:
            await self.pause(0.01)
        await self.pause(0.2)
        self.assertLess(response.body._waiting_bytes, 2 * FULL_BYTES)
        waiting = response.body._waiting_bytes
        await self.pause(0.1)
        self.assertEqual(response.body._waiting_bytes, waiting)
        response.body.close()

    async def pause(self, delay_s: float) -> None:
        await deferLater(reactor, delay_s, lambda: None)

    async def test_body_without_an_end_is_cut_off(self) -> None:
        def endless(request: Any) -> int:
            def more() -> None:
                if not request._disconnected:
                    request.write(b"x" * 5000)
                    reactor.callLater(0, more)

            more()
            return NOT_DONE_YET

        _, response = await self.stream(endless, StreamLimits(5, 100_000))
        with self.assertRaises(AnswerTooLarge):
            await self.read_all(response)
        await self.pages.lost[0]

    async def test_body_that_is_announced_as_too_large_is_not_read(self) -> None:
        with self.assertRaises(AnswerTooLarge):
            await self.stream(headed(1001, stop), StreamLimits(5, 1000))
        await self.pages.lost[0]

    async def test_body_that_is_shorter_than_announced_is_broken(self) -> None:
        requests: list[Any] = []

        def page(request: Any) -> int:
            requests.append(request)
            return stop(request)

        _, response = await self.stream(headed(100, page))
        self.assertEqual(await response.body.read(), b"x")
        requests[0].transport.abortConnection()
        with self.assertRaises(TransportError):
            await response.body.read()

    async def test_body_that_stops_is_given_up(self) -> None:
        _, response = await self.stream(headed(100, stop), StreamLimits(5, 1000, start_s=0.2))
        with self.assertRaises(TransportError):
            await self.read_all(response)
        await self.pages.lost[0]

    async def test_silent_server_is_given_up(self) -> None:
        with self.assertRaises(TransportError):
            await self.stream(lambda request: NOT_DONE_YET, StreamLimits(0.2, 1000))
        await self.pages.lost[0]

    async def test_refused_addresses_are_not_connected_to(self) -> None:
        client, port = self.make_client(excepted=[]), self.serve()
        with self.assertRaises(TransportError):
            await client.stream(self.route(port), GET, LARGE)
        self.assertEqual(self.connected, [])

    async def test_places_at_refused_addresses_are_not_gone_to(self) -> None:
        client, port = self.make_client(excepted=[]), self.serve(hello, NAME, "127.0.0.1")
        streaming = self.streaming(client)
        for place in (
            f"https://{NAME}:{port}/a",
            f"https://127.0.0.1:{port}/a",
            "https://[::1]/",
            "https://10.1.2.3/",
        ):
            with self.assertRaises(Unreachable):
                await streaming.get_url("far.example", place, LARGE)
        self.assertEqual((self.connected, self.pages.hosts), ([], []))
        allowed = self.streaming(self.make_client())
        answer = await allowed.get_url("far.example", f"https://127.0.0.1:{port}/a", LARGE)
        self.assertEqual((await answer.read(), await answer.read()), (b"hello ", b""))
        answer.close()

    def streaming(self, client: HttpsClient) -> StreamingClient:
        """Only for places that somebody names: it knows no servers."""
        unused: Any = None
        return StreamingClient(unused, unused, client, "test", unused, reactor, unused)
