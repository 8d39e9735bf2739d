"""Keys for end-to-end encryption: publishing, finding and claiming them, and whose changed. Start at `upload_keys`."""
