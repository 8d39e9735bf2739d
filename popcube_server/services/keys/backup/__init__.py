"""Server-side key backups: `versions`, and the encrypted session keys in them."""
