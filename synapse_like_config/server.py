"""Who this server is, and what it says about itself."""

import re
from collections.abc import Mapping
from pathlib import Path

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.values import Plain

# Specification, appendices, "Server Name": a DNS name, an IPv4 or a bracketed IPv6 address, and perhaps a port.
_SERVER_NAME = re.compile(r"(?:[0-9A-Za-z.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class ServerSection:
    """`public_baseurl` as given; `client_base_url` says what to use when it is not."""

    server_name: str = options.required_string()
    public_baseurl: str | None = options.optional_url()
    serve_server_wellknown: bool = options.boolean(False)
    extra_well_known_client_content: Mapping[str, Plain] = options.plain_mapping()
    web_client_location: str | None = options.optional_url()
    default_identity_server: str | None = options.optional_url()
    admin_contact: str | None = options.optional_string()
    user_agent_suffix: str | None = options.optional_string()
    pid_file: Path | None = options.optional_path()
    soft_file_limit: int = options.integer(0, 0)

    def check(self) -> None:
        # The name stands in every user ID and cannot be changed later, so a mistake must not pass.
        if not _SERVER_NAME.fullmatch(self.server_name):
            raise WrongValue(
                f"must be a host name, perhaps with a port, not {self.server_name[:100]!r}", "server_name"
            )
        if self.server_name != self.server_name.lower():
            raise WrongValue("must be in lower case", "server_name")

    @property
    def client_base_url(self) -> str:
        """Where clients reach this server, with a slash at the end."""
        url = self.public_baseurl or f"https://{self.server_name}/"
        return url if url.endswith("/") else f"{url}/"
