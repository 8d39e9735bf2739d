"""Push rules: which events notify whom, and what of it is unread.

Read `compiled_rules.py` for how one event is decided, then `push_outcomes.py`.
"""
