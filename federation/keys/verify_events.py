"""Whether the servers that must have signed an event have done so.

Source: server-server API, "Validating hashes and signatures on received events". The step before: the event's format is
right (`parse_event`); the step after: its content hash.
"""

from collections.abc import Iterable, Mapping

from federation.keys.key_ring import KeyRing
from federation.keys.server_keys import VerifyKey, is_usable_key_id
from federation.room_dag.canonical_json import NotCanonical
from federation.room_dag.event import Event, decode_pdu
from federation.room_dag.hashes import signed_bytes
from federation.room_dag.identifiers import InvalidIdentifier
from federation.room_dag.required_signers import required_signers
from federation.room_dag.signing import POLICY_KEY_ID, InvalidSignature, verify_bytes
from synapse_like_config.lazy_dataclasses import dataclass

MAX_SIGNATURES = 20
"""By one server on one event; more than this are a nuisance and nothing else."""


class KeysUnavailable(InvalidSignature):
    """A signature is there and no key to check it with: the event may be right, and is not to be used."""


@dataclass(frozen=True, slots=True)
class _Signed:
    """What is to be checked of one event: by server, key ID and signature."""

    event: Event
    message: bytes
    signatures: Mapping[str, Mapping[str, str]]

    @property
    def valid_at_ms(self) -> int | None:
        return self.event.origin_server_ts if self.event.rules.enforce_key_validity else None


class VerifyEvents:
    """Checks events that other servers sent, one or many."""

    def __init__(self, key_ring: KeyRing) -> None:
        self._key_ring = key_ring

    async def verify(self, event: Event) -> None:
        """Raise `InvalidSignature` (of which `KeysUnavailable` is one) if the event must be dropped."""
        await self._check(_read(event))

    async def find_invalid(self, events: Iterable[Event]) -> dict[str, InvalidSignature]:
        """Of many events those that must be dropped, by event ID. Their servers' keys are fetched together."""
        invalid: dict[str, InvalidSignature] = {}
        readable: list[_Signed] = []
        for event in events:
            try:
                readable.append(_read(event))
            except InvalidSignature as error:
                invalid[event.event_id] = error
        await self._key_ring.prefetch(_wanted(readable))
        for signed in readable:
            try:
                await self._check(signed)
            except InvalidSignature as error:
                invalid[signed.event.event_id] = error
        return invalid

    async def _check(self, signed: _Signed) -> None:
        for server_name, signatures in signed.signatures.items():
            keys = await self._key_ring.get_verify_keys(server_name, list(signatures), signed.valid_at_ms)
            _check_signatures(signed, server_name, signatures, keys)


def _check_signatures(
    signed: _Signed, server_name: str, signatures: Mapping[str, str], keys: Mapping[str, VerifyKey]
) -> None:
    # "If there are signatures made by keys that are unknown or that have expired, they are skipped"; those that can be
    # checked must all be right, and there must be one.
    if not keys:
        raise KeysUnavailable(f"no key of {server_name} to check {signed.event.event_id} with")
    for key_id, key in keys.items():
        try:
            verify_bytes(signed.message, signatures[key_id], key.key)
        except InvalidSignature as error:
            raise InvalidSignature(
                f"{signed.event.event_id}, by {server_name} with {key_id}: {error}"
            ) from None


def _read(event: Event) -> _Signed:
    pdu = decode_pdu(event)
    try:
        signers = required_signers(event)
        message = signed_bytes(pdu, event.rules)
    except (InvalidIdentifier, NotCanonical) as error:
        raise InvalidSignature(f"{event.event_id}: {error}") from None
    signatures = {name: _signatures_of(event, pdu.get("signatures"), name) for name in signers}
    return _Signed(event, message, signatures)


def _signatures_of(event: Event, signatures: object, server_name: str) -> Mapping[str, str]:
    by_server = signatures.get(server_name) if isinstance(signatures, dict) else None
    usable = {
        key_id: signature
        for key_id, signature in (by_server.items() if isinstance(by_server, dict) else ())
        # A policy server's recommendation says nothing about who made the event, and its key is not published.
        if isinstance(signature, str) and is_usable_key_id(key_id) and key_id != POLICY_KEY_ID
    }
    if not usable:
        raise InvalidSignature(f"{event.event_id} is not signed by {server_name}")
    if len(usable) > MAX_SIGNATURES:
        raise InvalidSignature(f"{event.event_id} has too many signatures by {server_name}")
    return usable


def _wanted(events: Iterable[_Signed]) -> dict[str, dict[str, int | None]]:
    wanted: dict[str, dict[str, int | None]] = {}
    for signed in events:
        for server_name, signatures in signed.signatures.items():
            times = wanted.setdefault(server_name, {})
            for key_id in signatures:
                known = times.get(key_id)
                later = signed.valid_at_ms
                # The latest time is the one that the key must still have been seen at.
                times[key_id] = later if known is None else max(known, later or known)
    return wanted
