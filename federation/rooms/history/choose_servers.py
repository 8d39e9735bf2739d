"""Which servers to ask for a room's history, the likeliest first. Pure."""

from collections.abc import Collection, Iterable, Mapping

from federation.room_dag.identifiers import InvalidIdentifier, domain_of


def choose_servers(
    room_id: str,
    members: Mapping[str, int],
    senders: Iterable[str],
    helped: str | None,
    tried: Collection[str],
    own_name: str,
) -> list[str]:
    """Servers with joined members (`members` counts them), those in `tried` last.

    `senders` sent what stands on the missing events, `helped` gave history of this room before.
    """
    order: dict[str, None] = {} if helped is None else {helped: None}
    for name in (*senders, room_id):
        try:
            order[domain_of(name)] = None
        except InvalidIdentifier:
            # From room version 12 on a room's ID names no server.
            continue
    order.update((server, None) for server in sorted(members, key=lambda server: (-members[server], server)))
    servers = [server for server in order if server in members and server != own_name]
    return [server for server in servers if server not in tried] + [
        server for server in servers if server in tried
    ]
