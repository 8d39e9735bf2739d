"""What is measured: one file for each kind of work, all of them named in `every.py`."""
