"""From a server name to an answer: discovery, TLS, signed requests, and patience with servers that do not answer.

Start with `federation_client.py`: the queues that send, and the handshakes of rooms, use that class.
"""
