"""What differs between SQLite and PostgreSQL: connecting, parameter marks, bulk inserts, error codes."""
