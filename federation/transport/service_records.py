"""SRV records, by twisted.names."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import DNSLookupError
from twisted.names import client, dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DomainError

from federation.transport.names import LookupFailed, ServiceRecord

RETRY_TIMEOUTS_S = (1, 3, 6)


class ServiceRecords:
    """`resolver` is twisted.names' IResolver."""

    def __init__(self, resolver: Any) -> None:
        self._resolver = resolver

    async def find_services(self, name: str) -> Sequence[ServiceRecord]:
        """Empty if the name has none. Raises `LookupFailed`."""
        try:
            answers, _, _ = await self._resolver.lookupService(name, timeout=RETRY_TIMEOUTS_S)
        except DNSNameError:
            return ()
        except CancelledError:
            raise
        except (DomainError, DNSQueryTimeoutError, DNSLookupError, OSError, ValueError) as error:
            raise LookupFailed(f"{name}: {type(error).__name__}") from error
        return [
            ServiceRecord(
                record.payload.priority,
                record.payload.weight,
                record.payload.port,
                record.payload.target.name.decode("ascii", "replace").rstrip("."),
                record.ttl,
            )
            for record in answers
            if record.type == dns.SRV
        ]


def resolv_conf_services(reactor: Any) -> ServiceRecords:
    """Asks the servers of /etc/resolv.conf, and watches that file from then on."""
    return ServiceRecords(client.Resolver(resolv="/etc/resolv.conf", reactor=reactor))
