"""Between twisted.web and the servlets: finds the organisation and the endpoint, parses, answers, counts.

The only part of `rest` that knows Twisted. A request comes in with `limited_request.py`, begins at `root.py` and is
led through the rest by `exchange.py`: start there.
"""
