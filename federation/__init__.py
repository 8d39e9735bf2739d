"""Rooms as signed, replicated data: the pure room DAG, the room engine, keys, transport and site links.

Start reading at ``room_dag``, which the rest stands on.
"""
