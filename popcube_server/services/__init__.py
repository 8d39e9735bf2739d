"""What the server does, one folder per area and one file per verb. Knows no HTTP and no SQL."""
