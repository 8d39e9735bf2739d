"""The product: command line, listeners, inbound endpoints (`rest/`) and services. Start reading in `app.py`."""
