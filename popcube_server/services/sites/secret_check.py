"""Whether two sites have the same secrets, without telling them."""

import hashlib
import hmac

from synapse_like_config.config import ServerConfig


def secret_check(config: ServerConfig) -> str:
    """Equal on sites that accept each other's access tokens."""
    secret = config.secrets.macaroon_secret_key or ""
    return hmac.new(
        secret.encode(), b"popcube sites " + config.server.server_name.encode(), hashlib.sha256
    ).hexdigest()
