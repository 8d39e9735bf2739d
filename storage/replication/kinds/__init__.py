"""The kinds of replicated records, a file per area. `all_kinds.py` lists them."""
