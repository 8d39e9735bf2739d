"""One organisation on two sites, as processes with links over TLS; a relay between them can cut the links."""
