"""Who may make an account, and how."""

from pathlib import Path

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.lazy_dataclasses import dataclass


@dataclass(frozen=True)
class AllowedThirdPartyId:
    """A pattern that an e-mail address or phone number of an account must match."""

    pattern: str = options.required_string()
    medium: str = options.choice("email", ("email", "msisdn"))


@dataclass(frozen=True)
class RegistrationSection:
    """`registration_shared_secret` opens the administrators' registration endpoint, also when all else is closed."""

    enable_registration: bool = options.boolean(False)
    enable_registration_without_verification: bool = options.boolean(False)
    registration_requires_token: bool = options.boolean(False)
    registrations_require_3pid: tuple[str, ...] = options.strings()
    disable_msisdn_registration: bool = options.boolean(False)
    allowed_local_3pids: tuple[AllowedThirdPartyId, ...] = options.sections(AllowedThirdPartyId)
    registration_shared_secret: str | None = options.optional_secret()
    registration_shared_secret_path: Path | None = options.optional_path()
    allow_guest_access: bool = options.boolean(False)
    inhibit_user_in_use_error: bool = options.boolean(False)
    request_token_inhibit_3pid_errors: bool = options.boolean(False)
    enable_set_displayname: bool = options.boolean(True)
    enable_set_avatar_url: bool = options.boolean(True)
    enable_3pid_changes: bool = options.boolean(True)

    def check(self) -> None:
        # As Synapse: a server open to everybody must be meant to be so.
        verified = self.registration_requires_token or self.registrations_require_3pid
        if self.enable_registration and not verified and not self.enable_registration_without_verification:
            raise WrongValue(
                "anybody could register, which invites abuse: set registration_requires_token, "
                "or say enable_registration_without_verification: true if that is what you want",
                "enable_registration",
            )
