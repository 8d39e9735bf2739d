"""Which servers must have signed an event.

Source: server-server API, "Validating hashes and signatures on received events"; auth rules of room version
8.
"""

from federation.room_dag.event import Event
from federation.room_dag.identifiers import InvalidIdentifier, domain_of, parse_user_id
from federation.room_dag.room_versions import EventIdFormat


def required_signers(event: Event) -> frozenset[str]:
    """The servers without whose valid signature the event is dropped; raises InvalidIdentifier."""
    signers = set()
    # "The `sender`'s server, unless the invite was created as a result of 3rd party invite."
    if not _is_third_party_invite(event):
        signers.add(domain_of(event.sender))
    # "For room versions 1 and 2, the server which created the `event_id`."
    if event.rules.event_id_format is EventIdFormat.LOCALPART_AND_DOMAIN:
        signers.add(domain_of(event.event_id))
    # Version 8, 4.2.1: "If the event is not validly signed by the homeserver of the user ID denoted by the
    # key, reject."
    if event.rules.restricted_joins and event.type == "m.room.member":
        authorising_user = event.content.get("join_authorised_via_users_server")
        if isinstance(authorising_user, str):
            signers.add(parse_user_id(authorising_user).domain)
        elif authorising_user is not None:
            raise InvalidIdentifier("join_authorised_via_users_server is not a user ID")
    return frozenset(signers)


def _is_third_party_invite(event: Event) -> bool:
    is_invite = event.type == "m.room.member" and event.membership == "invite"
    return is_invite and "third_party_invite" in event.content
