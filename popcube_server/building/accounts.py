"""Builds accounts: registration, login, sessions, devices, moderation."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from popcube_server.building.auth import Auth, build_auth, make_limiter
from popcube_server.building.core import Core
from popcube_server.building.profiles import frozen_profile_fields
from popcube_server.rest.client.account_deactivation import AccountDeactivation
from popcube_server.rest.client.admin import Admin
from popcube_server.rest.client.administrative_contact import AdministrativeContact
from popcube_server.rest.client.auth_fallback import AuthFallback
from popcube_server.rest.client.capabilities import Capabilities, CapabilitySettings
from popcube_server.rest.client.device_management import DeviceManagement
from popcube_server.rest.client.login import Login
from popcube_server.rest.client.login_fallback import LoginFallback
from popcube_server.rest.client.login_token import LoginToken
from popcube_server.rest.client.logout import Logout
from popcube_server.rest.client.password_management import PasswordManagement
from popcube_server.rest.client.refresh import Refresh
from popcube_server.rest.client.register import Register
from popcube_server.rest.client.registration_tokens import RegistrationTokenValidity
from popcube_server.rest.client.user_interactive_auth import Confirmation
from popcube_server.rest.client.whoami import Whoami
from popcube_server.rest.front_door.site import Authenticator
from popcube_server.rest.synapse_admin.register import SharedSecretRegister
from popcube_server.services.accounts.change_password import ChangePassword
from popcube_server.services.accounts.deactivate_account import DeactivateAccount
from popcube_server.services.accounts.delete_devices import DeleteDevices, DeviceCleanup
from popcube_server.services.accounts.devices import Devices
from popcube_server.services.accounts.log_out import LogOut
from popcube_server.services.accounts.moderate_account import ModerateAccount
from popcube_server.services.accounts.register_account import RegisterAccount
from popcube_server.services.accounts.shared_secret_registration import SharedSecretRegistration
from popcube_server.services.accounts.sign_up import SignUp
from popcube_server.services.accounts.suspension import AccountSuspensions
from popcube_server.services.accounts.whois import Whois
from popcube_server.services.auth.log_in import LogIn
from popcube_server.services.auth.login_tokens import LoginTokens
from popcube_server.services.auth.recent_confirmations import RecentConfirmations
from popcube_server.services.auth.refresh_session import RefreshSession
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.ratelimits import RateLimit
from synapse_like_config.rooms import ROOM_VERSIONS

# Whether a name is free is asked with every pause in typing.
NAME_CHECKS = RateLimit(per_second=1, burst_count=20)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What other areas use: who asks, the confirmation of what is dangerous, and who is suspended."""

    authenticator: Authenticator
    confirmation: Confirmation
    suspensions: AccountSuspensions
    register_account: RegisterAccount
    delete_devices: DeleteDevices
    servlets: Sequence[object] = ()
    parts: Sequence[Any] = field(default_factory=tuple)


def build_accounts(core: Core, device_cleanups: Sequence[DeviceCleanup] = ()) -> Accounts:
    """`device_cleanups`: what other areas keep for devices and forget together with them."""
    auth = build_auth(core)
    confirmation = Confirmation(
        auth.interactive_auth,
        RecentConfirmations(core.config.sessions.ui_auth.session_timeout_ms, core.platform.now_ms),
        core.config.passwords.password_config.is_reauth_enabled,
    )
    delete_devices = DeleteDevices(core.platform, core.committer, device_cleanups)
    register_account = RegisterAccount(
        core.platform, core.server_name, core.database, core.committer, auth.passwords, lambda user_id: False
    )
    servlets = [
        AuthFallback(auth.interactive_auth),
        *_registration_servlets(core, auth, register_account),
        *_login_servlets(core, auth, confirmation),
        *_account_servlets(core, auth, confirmation, delete_devices),
        _build_capabilities(core),
    ]
    return Accounts(
        auth.authenticator,
        confirmation,
        AccountSuspensions(core.database, core.log),
        register_account,
        delete_devices,
        servlets,
        (auth.sightings,),
    )


def _registration_servlets(core: Core, auth: Auth, register_account: RegisterAccount) -> list[object]:
    config = core.config
    sign_up = SignUp(
        config.registration,
        config.passwords.password_config.policy,
        auth.interactive_auth,
        register_account,
        auth.start_session,
        make_limiter(core, config.rate_limits.rc_registration),
    )
    shared_secret = SharedSecretRegistration(
        config.registration.registration_shared_secret, core.platform, register_account, auth.start_session
    )
    return [
        Register(
            core.server_name,
            auth.interactive_auth,
            sign_up,
            make_limiter(core, NAME_CHECKS),
        ),
        RegistrationTokenValidity(
            auth.registration_tokens,
            sign_up,
            make_limiter(core, config.rate_limits.rc_registration_token_validity),
        ),
        SharedSecretRegister(core.server_name, shared_secret),
    ]


def _login_servlets(core: Core, auth: Auth, confirmation: Confirmation) -> list[object]:
    config = core.config
    existing = config.sessions.login_via_existing_session
    login_tokens = LoginTokens(core.platform, core.committer, existing.token_timeout_ms)
    log_in = LogIn(
        core.database,
        auth.check_password,
        login_tokens,
        auth.start_session,
        make_limiter(core, config.rate_limits.rc_login.address),
        make_limiter(core, config.rate_limits.rc_login.account),
    )
    refresh = RefreshSession(core.platform, auth.tokens, auth.issue_tokens, core.database, core.committer)
    return [
        Login(
            core.server_name,
            config.server.client_base_url,
            config.passwords.password_config.is_login_enabled,
            existing.enabled,
            log_in,
        ),
        LoginFallback(),
        LoginToken(login_tokens, confirmation, existing.enabled, existing.require_ui_auth),
        Refresh(refresh),
    ]


def _account_servlets(
    core: Core, auth: Auth, confirmation: Confirmation, delete_devices: DeleteDevices
) -> list[object]:
    passwords = core.config.passwords.password_config
    change_password = ChangePassword(
        passwords.policy, auth.passwords, core.database, core.committer, delete_devices
    )
    deactivate = DeactivateAccount(core.platform, core.database, core.committer, delete_devices)
    log_out = LogOut(core.platform, core.database, core.committer, delete_devices)
    return [
        Whoami(),
        Logout(log_out),
        PasswordManagement(change_password, confirmation, passwords.is_reauth_enabled),
        AccountDeactivation(deactivate, confirmation),
        AdministrativeContact(),
        DeviceManagement(Devices(core.database, core.committer), delete_devices, confirmation),
        Admin(
            Whois(core.server_name, core.database),
            ModerateAccount(core.server_name, core.database, core.committer),
        ),
    ]


def _build_capabilities(core: Core) -> Capabilities:
    config = core.config
    return Capabilities(
        CapabilitySettings(
            default_room_version=config.rooms.default_room_version,
            room_versions=ROOM_VERSIONS,
            change_password=config.passwords.password_config.is_reauth_enabled,
            get_login_token=config.sessions.login_via_existing_session.enabled,
            frozen_profile_fields=frozen_profile_fields(core),
            forget_forced_upon_leave=config.rooms.forget_rooms_on_leave,
        )
    )
