"""Real things that tests stand on: PostgreSQL, server processes, the specification's schemas.

Start at `server_test_case`, or at `postgres` for storage.
"""
