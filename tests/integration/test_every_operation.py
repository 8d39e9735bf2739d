"""Every operation that the server has, called with its happy path, each answer as specified.

One test on one server: only so can it say at the end what nobody called. The stops are in `tour`.
"""

import traceback
from collections.abc import Iterator, Sequence

from tests.integration.tour import accounts, encryption, events, finding, media, personal, push, rooms
from tests.integration.tour.visit import Stop, Visit
from tests.support.configuration import EVERY_FEATURE
from tests.support.not_yet import read_not_yet
from tests.support.openapi import Operation, specification
from tests.support.server_test_case import ServerProcessTestCase

STOPS: Sequence[Stop] = (
    *accounts.STOPS,
    *personal.STOPS,
    *rooms.STOPS,
    *events.STOPS,
    *push.STOPS,
    *encryption.STOPS,
    *media.STOPS,
    *finding.STOPS,
)


class EveryOperationTests(ServerProcessTestCase):
    def test_each_delivered_operation_is_called_with_success(self) -> None:
        server = self.start_server(overrides=EVERY_FEATURE)
        visit = Visit(lambda: self.client(server))
        failures = [failure for stop in STOPS for failure in self.failures_of(stop, visit)]
        if failures:
            self.fail("\n".join(failures))
        self.assertEqual([operation.name for operation in self.never_called()], [])

    def failures_of(self, stop: Stop, visit: Visit) -> Iterator[str]:
        try:
            stop(visit)
        except Exception:  # noqa: BLE001 - the other stops are worth a visit still
            yield f"{stop.__module__}.{stop.__name__}:\n{traceback.format_exc()}"

    def never_called(self) -> Iterator[Operation]:
        not_yet = read_not_yet()
        for operation in specification().operations():
            delivered = operation.api == "cs" and not any(entry.is_about(operation) for entry in not_yet)
            if delivered and operation.name not in self.witness.recorded():
                yield operation
