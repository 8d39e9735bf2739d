"""Builds what this server is to other servers: its keys, theirs, and the way to them and from them."""

import logging
from collections.abc import Sequence
from typing import Protocol

from federation.identity.identity_servers import IdentityServers
from federation.keys.co_signatures import CoSignatures, SignAhead
from federation.keys.fetch_keys import FetchKeys, Notary
from federation.keys.key_ring import KeyRing
from federation.keys.own_keys import OwnKeys
from federation.keys.site_keys import NoteKeys, SiteKeys
from federation.keys.stored_keys import StoredKeys
from federation.keys.verify_events import VerifyEvents
from federation.room_dag.base64 import decode_base64
from federation.room_dag.signing import EventSigner, generate_key
from federation.sites.site_peers import SitePeers
from federation.transport.allowed_servers import AllowedServers
from federation.transport.back_off import BackOff
from federation.transport.discovery import Discovery
from federation.transport.federation_client import FederationClient
from federation.transport.network import Network
from federation.transport.server_requests import ServerRequests
from federation.transport.streaming_client import StreamingClient
from federation.transport.well_known import WellKnown
from popcube_server.building.core import Core
from popcube_server.federation_metrics import FederationMetrics
from popcube_server.rest.federation.keys import KeyQueries, ServerKeys
from popcube_server.rest.federation.version import FederationVersion
from popcube_server.rest.federation.well_known import WellKnownServer
from popcube_server.services.federation.answer_key_queries import AnswerKeyQueries
from popcube_server.services.federation.authenticate_server import AuthenticateServer
from popcube_server.services.federation.origin_turns import OF_SITES, OriginTurns
from popcube_server.services.federation.own_documents import OwnKeyDocument, delegation_document
from popcube_server.services.periodic import Periodic
from popcube_server.version import NAME, VERSION
from storage.site_key_signatures import SiteKeySignaturesRepository
from synapse_like_config.keys import TrustedKeyServer
from synapse_like_config.lazy_dataclasses import dataclass

logger = logging.getLogger(__name__)

FORGET_INTERVAL_S = 6 * 3600.0


class Running(Protocol):
    """Something with a life of its own."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Federation:
    """What rooms, queues and queries use of the network; `authenticator` is for the front door."""

    client: FederationClient
    streaming: StreamingClient
    allowed: AllowedServers
    key_ring: KeyRing
    verify_events: VerifyEvents
    identity: IdentityServers
    back_off: BackOff
    authenticator: AuthenticateServer
    turns: OriginTurns
    site_turns: OriginTurns
    """For the listener that only sites of the organization reach."""
    metrics: FederationMetrics
    servlets: Sequence[object]
    parts: Sequence[Running]


def build_federation(core: Core, network: Network, peers: SitePeers | None) -> Federation:
    config, platform, now_ms = core.config, core.platform, core.platform.now_ms
    allowed = AllowedServers(core.server_name, config.federation.federation_domain_whitelist)
    user_agent = _user_agent(config.server.user_agent_suffix)
    well_known = WellKnown(network.https, user_agent, now_ms)
    discovery = Discovery(network.names, well_known, now_ms, platform.random)
    requests = ServerRequests(allowed, discovery, network.https, user_agent)
    retries = config.federation.federation
    back_off = BackOff(core.database, core.committer, core.log, retries, now_ms, platform.random)
    client = FederationClient(core.signer, requests, back_off, platform.clock, platform.sleep, retries)
    streaming = StreamingClient(
        core.signer, requests, network.https, user_agent, back_off, platform.clock, platform.sleep
    )

    known = core.database.read_now(SiteKeySignaturesRepository().get_all) if core.sites else {}
    signatures = CoSignatures(known)
    core.log.follow(signatures.hear)
    site_keys = None if peers is None else SiteKeys(peers, core.database)
    own = OwnKeys(
        _signers(core),
        config.keys.old_signing_keys,
        config.keys.key_refresh_interval_ms,
        now_ms,
        site_keys,
        signatures if core.sites else None,
    )
    stored = StoredKeys(core.database, core.committer, core.log, now_ms)
    cache = stored.cache
    core.metrics.cache("server_keys", lambda: len(cache), lambda: cache.hits, lambda: cache.misses)
    key_ring = KeyRing(own, stored, FetchKeys(requests, now_ms), _notaries(core), now_ms)
    numbers = FederationMetrics(core.metrics)
    authenticator = AuthenticateServer(core.server_name, key_ring, allowed, back_off, numbers)
    turns = OriginTurns(config.rate_limits.rc_federation, platform, numbers)
    numbers.watch(
        "requests_under_way", "Requests of other servers that are worked on.", lambda: turns.under_way
    )
    numbers.watch(
        "requests_waiting", "Requests of other servers that wait for a turn.", lambda: turns.waiting
    )
    servlets: list[object] = [
        ServerKeys(OwnKeyDocument(own)),
        KeyQueries(AnswerKeyQueries(own, key_ring, stored, allowed, platform)),
        FederationVersion(),
    ]
    document = delegation_document(core.server_name) if config.server.serve_server_wellknown else None
    if document is not None:
        servlets.append(WellKnownServer(document))
    forget = Periodic(platform, "Forgetting servers that are gone", FORGET_INTERVAL_S, back_off.forget_old)
    return Federation(
        client,
        streaming,
        allowed,
        key_ring,
        VerifyEvents(key_ring),
        IdentityServers(network.https, user_agent),
        back_off,
        authenticator,
        turns,
        OriginTurns(OF_SITES, platform, numbers),
        numbers,
        servlets,
        [forget, *_signing(core, own, peers, site_keys, signatures)],
    )


def _signing(
    core: Core,
    own: OwnKeys,
    peers: SitePeers | None,
    site_keys: SiteKeys | None,
    signatures: CoSignatures,
) -> Sequence[SignAhead]:
    if peers is None or site_keys is None:
        return ()
    note = NoteKeys(peers, core.database, core.committer, lambda: own.next_ends(1)[0])
    clock = core.platform.clock
    ahead = SignAhead(own, site_keys, note, signatures, core.log, core.committer, clock)
    peers.follow(lambda change: ahead.look_now())
    return (ahead,)


def _signers(core: Core) -> list[EventSigner]:
    """The one that signs, and the others of the file."""
    signers = [core.signer]
    for key in core.config.keys.signing_keys[1:]:
        entry = generate_key(key.version, key.seed)
        signers.append(EventSigner(core.server_name, entry.key_id, entry.signing_key))
    return signers


def _notaries(core: Core) -> list[Notary]:
    """Those of `trusted_key_servers` whose answers can be believed."""
    verifies_tls = core.config.federation.federation_verify_certificates
    notaries = []
    for server in core.config.keys.trusted_key_servers:
        if not (server.verify_keys or verifies_tls or server.accept_keys_insecurely):
            logger.warning(
                "The key server %s is not asked: with federation_verify_certificates off it needs verify_keys",
                server.server_name,
            )
            continue
        notaries.append(Notary(server.server_name, _pinned_keys(server)))
    return notaries


def _pinned_keys(server: TrustedKeyServer) -> dict[str, bytes]:
    keys = {}
    for key_id, text in server.verify_keys.items():
        try:
            keys[key_id] = decode_base64(str(text))
        except ValueError:
            raise SystemExit(f"trusted_key_servers: {key_id} of {server.server_name} is not base64") from None
    return keys


def _user_agent(suffix: str | None) -> str:
    agent = f"{NAME.replace(' ', '')}/{VERSION}"
    return agent if suffix is None else f"{agent} {suffix}"
