"""Messages to devices: how encryption shares the keys of a room."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

from benchmarks.client import V3, Account, Client
from benchmarks.load import Result, in_lanes, side_by_side, timed
from benchmarks.site import Site
from benchmarks.sizes import Sizes

SENDERS = 2
CONTENT = {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "k" * 43, "ciphertext": "c" * 1000}


class ToDevice:
    """Two clients send to all recipients at once; then each recipient syncs once."""

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self._site = site
        self._sizes = sizes
        self._recipients = site.people("recipient", sizes.recipients)
        self._senders = site.people("courier", SENDERS)
        self._numbers = count()

    def turn(self) -> Iterator[tuple[str, Result]]:
        size = self._sizes.recipients
        clients = [self._site.client(account) for account in self._recipients]
        tokens = in_lanes([client.token for client in clients])
        workers = [self._sending(account) for account in self._senders]
        work = partial(side_by_side, workers, self._sizes.to_device_sends)
        yield f"to-device to {size} devices, send", self._site.measure(work)
        syncs = [
            partial(timed, partial(self._receive, client, token))
            for client, token in zip(clients, tokens, strict=True)
        ]
        messages = SENDERS * self._sizes.to_device_sends
        yield f"to-device, receive {messages} messages", self._site.measure(partial(in_lanes, syncs))

    def _sending(self, account: Account) -> Callable[[], object]:
        client = self._site.client(account)
        body = {"messages": {one.user_id: {one.device_id: CONTENT} for one in self._recipients}}
        path = f"{V3}/sendToDevice/m.room.encrypted"
        return lambda: client.call("PUT", f"{path}/txn{next(self._numbers)}", body)

    def _receive(self, client: Client, since: str) -> None:
        received = len(client.sync(since)["to_device"]["events"])
        if received != SENDERS * self._sizes.to_device_sends:
            raise RuntimeError(f"{received} messages came")
