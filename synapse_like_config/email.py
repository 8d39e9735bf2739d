"""Mail that the server sends."""

from collections.abc import Mapping

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.values import Plain


@dataclass(frozen=True)
class EmailConfig:
    """`smtp_port` of None is 465 with `force_tls`, 25 without; ask `port`."""

    smtp_host: str = options.string("localhost")
    smtp_port: int | None = options.optional_integer(1, 65535)
    smtp_user: str | None = options.optional_string()
    smtp_pass: str | None = options.optional_secret()
    force_tls: bool = options.boolean(False)
    require_transport_security: bool = options.boolean(False)
    enable_tls: bool = options.boolean(True)
    notif_from: str | None = options.optional_string()
    app_name: str = options.string("Matrix")
    enable_notifs: bool = options.boolean(False)
    notif_for_new_users: bool = options.boolean(True)
    notif_delay_before_mail_ms: int = options.duration_ms("10m")
    client_base_url: str | None = options.optional_url()
    validation_token_lifetime_ms: int = options.duration_ms("1h", 1000)
    invite_client_location: str | None = options.optional_url()
    subjects: Mapping[str, Plain] = options.plain_mapping()

    def check(self) -> None:
        if self.force_tls and not self.enable_tls:
            raise WrongValue("cannot be true when enable_tls is false", "force_tls")
        if self.require_transport_security and not self.enable_tls:
            raise WrongValue("cannot be true when enable_tls is false", "require_transport_security")
        if self.enable_notifs and not self.notif_from:
            raise WrongValue("must be set when enable_notifs is", "notif_from")

    @property
    def port(self) -> int:
        return self.smtp_port or (465 if self.force_tls else 25)
