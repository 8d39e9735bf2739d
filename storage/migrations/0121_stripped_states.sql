-- Stripped state goes with the invite or the knock that it came with; until now some of it stayed behind.
DELETE FROM stripped_states WHERE NOT EXISTS (
    SELECT 1 FROM memberships m
    WHERE m.user_nid = stripped_states.user_nid AND m.room = stripped_states.room AND m.membership IN (2, 3)
);
