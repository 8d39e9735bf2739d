"""Questions to other servers: limits and memory."""
