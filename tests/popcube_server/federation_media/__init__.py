"""Media between servers: ours for others, theirs for our users."""
