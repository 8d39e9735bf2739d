"""History that lies with other servers, fetched when somebody looks for it: start with `backfill.py`."""
