"""Previews of web pages that are linked in messages."""

from collections.abc import Mapping

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.parsers import IPNetwork, list_of, parse_network, parse_plain_mapping
from synapse_like_config.values import Plain


@dataclass(frozen=True)
class UrlPreviewsSection:
    """`url_preview_ip_range_blacklist` has no default: who turns previews on must say what is private."""

    url_preview_enabled: bool = options.boolean(False)
    url_preview_ip_range_blacklist: tuple[IPNetwork, ...] | None = options.custom(
        None, list_of(parse_network)
    )
    url_preview_ip_range_whitelist: tuple[IPNetwork, ...] = options.networks()
    url_preview_url_blacklist: tuple[Mapping[str, Plain], ...] = options.custom(
        (), list_of(parse_plain_mapping)
    )
    url_preview_accept_language: tuple[str, ...] = options.strings("en")
    max_spider_size_bytes: int = options.size_bytes("10M", 1)

    def check(self) -> None:
        if self.url_preview_enabled and self.url_preview_ip_range_blacklist is None:
            raise WrongValue(
                "must be set when url_preview_enabled is: without it anyone could make the server "
                "fetch pages of your internal network",
                "url_preview_ip_range_blacklist",
            )
