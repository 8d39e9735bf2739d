"""What a new password must be like."""

from popcube_server.services.errors import InvalidParam, WithCode
from synapse_like_config.passwords import PasswordPolicy

# So that nobody makes the server hash a book.
MAX_PASSWORD_CHARACTERS = 512


def check_password(policy: PasswordPolicy, password: str) -> None:
    """Raise the refusal that says what the password lacks."""
    if not password:
        raise InvalidParam("The password must not be empty.")
    if len(password) > MAX_PASSWORD_CHARACTERS:
        raise InvalidParam(f"The password may have at most {MAX_PASSWORD_CHARACTERS} characters.")
    if not policy.enabled:
        return
    if len(password) < policy.minimum_length:
        raise WithCode(
            400,
            "M_PASSWORD_TOO_SHORT",
            f"The password must have at least {policy.minimum_length} characters.",
        )
    if policy.require_digit and not any(char.isdigit() for char in password):
        raise WithCode(400, "M_PASSWORD_NO_DIGIT", "The password must have a digit.")
    if policy.require_symbol and all(char.isalnum() for char in password):
        raise WithCode(400, "M_PASSWORD_NO_SYMBOL", "The password must have a symbol.")
    if policy.require_uppercase and not any(char.isupper() for char in password):
        raise WithCode(400, "M_PASSWORD_NO_UPPERCASE", "The password must have an upper-case letter.")
    if policy.require_lowercase and not any(char.islower() for char in password):
        raise WithCode(400, "M_PASSWORD_NO_LOWERCASE", "The password must have a lower-case letter.")
