"""What sites tell each other of everything but room events: records, their versions and how they merge.

Start with `record.py`; `record_index.py` is the table behind it, `apply_records.py` the receiving side and
`export_records.py` the sending one. Which kinds there are is in `kinds/`.
"""
