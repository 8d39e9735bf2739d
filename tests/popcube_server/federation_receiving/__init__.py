"""What hostile and slow servers send, at the HTTP API."""
