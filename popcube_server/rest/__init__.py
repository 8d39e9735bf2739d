"""Every inbound endpoint: one file per specification module, which parses, calls one service and shapes the answer.

Start with `endpoint.py` (what a servlet looks like), then `front_door/` (what happens around it).
"""
