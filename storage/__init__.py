"""How an organisation's data reaches a disk: engines, transactions, the log, and one repository per area.

Start with `database.py` (a transaction), then `change.py` and `committer.py` (how anything is written).
"""
