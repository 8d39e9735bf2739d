"""The authorization rules: may this event be in the room?

Start at ``check_event_auth`` (the rules over the state of the room), then ``check_auth_events`` (the rule
about an event's auth events) and ``auth_state_keys`` (which state they are). The other files hold one group
of rules each.

Rules are numbered as in room version 12, with the number of the old versions where only those have the rule.
Whether signatures are valid is checked before, with ``required_signers``.
"""
