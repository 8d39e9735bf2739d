"""What this server asks others for its users, and what others ask of it."""
