"""Logging in through another identity provider."""

from collections.abc import Mapping
from pathlib import Path

from synapse_like_config import options
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.values import Plain


@dataclass(frozen=True)
class OidcProvider:
    """One OpenID Connect provider."""

    idp_id: str = options.required_string()
    issuer: str = options.required_string()
    client_id: str = options.required_string()
    idp_name: str | None = options.optional_string()
    idp_icon: str | None = options.optional_string()
    idp_brand: str | None = options.optional_string()
    client_secret: str | None = options.optional_secret()
    client_secret_path: Path | None = options.optional_path()
    client_auth_method: str = options.choice(
        "client_secret_basic", ("client_secret_basic", "client_secret_post", "none")
    )
    pkce_method: str = options.choice("auto", ("auto", "always", "never"))
    discover: bool = options.boolean(True)
    scopes: tuple[str, ...] = options.strings("openid")
    authorization_endpoint: str | None = options.optional_url()
    token_endpoint: str | None = options.optional_url()
    userinfo_endpoint: str | None = options.optional_url()
    jwks_uri: str | None = options.optional_url()
    skip_verification: bool = options.boolean(False)
    user_profile_method: str = options.choice("auto", ("auto", "userinfo_endpoint"))
    allow_existing_users: bool = options.boolean(False)
    enable_registration: bool = options.boolean(True)
    user_mapping_provider: Mapping[str, Plain] = options.plain_mapping()
    backchannel_logout_enabled: bool = options.boolean(False)
    backchannel_logout_ignore_sub: bool = options.boolean(False)


@dataclass(frozen=True)
class OidcSection:
    """The providers that the login page offers."""

    oidc_providers: tuple[OidcProvider, ...] = options.sections(OidcProvider)
