"""Duties that one site at a time has, and how the sites agree who.

Start reading with `duty.py`; then `voter.py` and `leased_duty.py`, for three sites and more (witnesses count), or
`decided_duty.py`, for two that are alone.
"""
