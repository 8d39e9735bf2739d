"""This site as a peer of others."""
