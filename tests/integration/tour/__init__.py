"""A walk through every client operation with its happy path; one file per area, `test_every_operation` takes it.

Each function in `STOPS` opens its own users, so that stops do not depend on each other.
"""
