"""What the server does for other servers. Rooms, keys and the way to reach others are in the package `federation`."""
