"""The rules of Matrix rooms as pure functions: no I/O, no clock, no randomness, no logging.

Start reading at ``room_versions`` (a room version is a value), then ``event`` (what an event is and how one
is parsed, built and shown), ``auth_rules`` (may this event be in the room) and ``state_resolution`` (what is
the state where branches meet). Only the standard library, orjson, PyNaCl and immutables are imported.
"""
