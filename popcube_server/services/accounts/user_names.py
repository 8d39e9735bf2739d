"""Which user IDs a new account may have, and which account a login means."""

from federation.room_dag.identifiers import InvalidIdentifier, check_new_user_id, is_user_id
from popcube_server.services.errors import WithCode

MAX_LOCALPART_LETTERS = 255


def new_user_id(name: str, server_name: str) -> str:
    """The user ID of a new account called `name` (a localpart, or a whole user ID of this server)."""
    # "upper case in the name is lowered": user IDs are in lower case.
    localpart = _localpart(name, server_name).lower()
    user_id = f"@{localpart}:{server_name}"
    try:
        check_new_user_id(user_id)
    except InvalidIdentifier as error:
        raise WithCode(400, "M_INVALID_USERNAME", f"This user name is not possible: {error}.") from error
    return user_id


def possible_user_ids(name: str, server_name: str) -> tuple[str, ...]:
    """Which user IDs of this server a person may mean who logs in as `name`; the likeliest first."""
    user_id = name if name.startswith("@") else f"@{name}:{server_name}"
    if not is_user_id(user_id) or not user_id.endswith(f":{server_name}"):
        return ()
    # Historical names may have upper case; people write any name with it.
    lowered = user_id.lower()
    return (user_id,) if lowered == user_id else (user_id, lowered)


def _localpart(name: str, server_name: str) -> str:
    # COMPAT: some clients send the whole user ID.
    if name.startswith("@") and name.endswith(f":{server_name}"):
        return name[1 : -len(server_name) - 1]
    return name
