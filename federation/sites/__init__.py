"""Links between the sites of one organisation: each tells the others what its log holds, in order, until they have it.

Start with `batch.py`, what travels; `link.py` sends, `take_batch.py` receives, `durability.py` waits for it.
"""
