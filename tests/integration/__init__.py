"""The server as its users meet it: a process of its own, driven over HTTP by unchanged client libraries."""
