"""State resolution: one state of the room out of the states at the ends of its branches.

Start at ``resolve``. ``v1`` serves room version 1, ``v2`` the others. Nothing recurses: a hostile room can
make chains of any length. Work is proportional to what is in conflict, apart from one comparison of the
states.
"""
