"""The whole configuration. Objects are given the section they use, never this."""

from synapse_like_config import options
from synapse_like_config.app_services import AppServicesSection
from synapse_like_config.auto_join import AutoJoinSection
from synapse_like_config.caches import CachesSection
from synapse_like_config.database import DatabaseConfig
from synapse_like_config.directory import DirectorySection
from synapse_like_config.email import EmailConfig
from synapse_like_config.federation import FederationSection
from synapse_like_config.keys import KeysSection
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.listeners import DEFAULT_LISTENERS, ListenerConfig
from synapse_like_config.media import MediaSection
from synapse_like_config.observability import ObservabilitySection
from synapse_like_config.oidc import OidcSection
from synapse_like_config.passwords import PasswordsSection
from synapse_like_config.popcube import PopcubeConfig
from synapse_like_config.presence import PresenceConfig
from synapse_like_config.profiles import ProfilesSection
from synapse_like_config.push import PushConfig
from synapse_like_config.ratelimits import RateLimitsSection
from synapse_like_config.registration import RegistrationSection
from synapse_like_config.retention import RetentionConfig
from synapse_like_config.rooms import RoomsSection
from synapse_like_config.secrets import SecretsSection
from synapse_like_config.server import ServerSection
from synapse_like_config.sessions import SessionsSection
from synapse_like_config.sites import SitesConfig
from synapse_like_config.tls import TlsSection
from synapse_like_config.turn import TurnSection
from synapse_like_config.url_previews import UrlPreviewsSection


@dataclass(frozen=True)
class ServerConfig:
    """`...Section` groups options that stand at the top level of the file, `...Config` is a key of its own there."""

    server: ServerSection = options.inline_required(ServerSection)
    keys: KeysSection = options.inline(KeysSection)
    secrets: SecretsSection = options.inline(SecretsSection)
    listeners: tuple[ListenerConfig, ...] = options.sections(ListenerConfig, *DEFAULT_LISTENERS)
    tls: TlsSection = options.inline(TlsSection)
    database: DatabaseConfig = options.nested(DatabaseConfig())
    registration: RegistrationSection = options.inline(RegistrationSection)
    auto_join: AutoJoinSection = options.inline(AutoJoinSection)
    passwords: PasswordsSection = options.inline(PasswordsSection)
    sessions: SessionsSection = options.inline(SessionsSection)
    rooms: RoomsSection = options.inline(RoomsSection)
    directory: DirectorySection = options.inline(DirectorySection)
    profiles: ProfilesSection = options.inline(ProfilesSection)
    presence: PresenceConfig = options.nested(PresenceConfig())
    media: MediaSection = options.inline(MediaSection)
    url_previews: UrlPreviewsSection = options.inline(UrlPreviewsSection)
    push: PushConfig = options.nested(PushConfig())
    email: EmailConfig | None = options.optional_nested(EmailConfig)
    turn: TurnSection = options.inline(TurnSection)
    federation: FederationSection = options.inline(FederationSection)
    rate_limits: RateLimitsSection = options.inline(RateLimitsSection)
    retention: RetentionConfig = options.nested(RetentionConfig())
    app_services: AppServicesSection = options.inline(AppServicesSection)
    oidc: OidcSection = options.inline(OidcSection)
    caches: CachesSection = options.inline(CachesSection)
    observability: ObservabilitySection = options.inline(ObservabilitySection)
    sites: SitesConfig | None = options.optional_nested(SitesConfig)
    popcube: PopcubeConfig = options.nested(PopcubeConfig())
