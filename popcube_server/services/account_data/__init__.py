"""What users keep on the server for their own clients: account data and tags."""
