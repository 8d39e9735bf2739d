"""What calls need of a server."""
