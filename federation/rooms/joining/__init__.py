"""Taking part in rooms of other servers: joins, knocks, leaves and invites, from the side that asks."""
