"""Measurements of the server, alone and beside Synapse. Nothing here fails because something is slow.

`python -m benchmarks` (`make bench`) compares; `python -m benchmarks.figures` looks closer at one large room.
Start reading in `comparison.py`; docs/performance.md says what is measured and how.
"""
