-- The order in which keys are given out, to the end: keys of one upload have one position.
DROP INDEX one_time_keys_by_age;
CREATE INDEX one_time_keys_in_order ON one_time_keys (user_nid, device, algorithm, position, key_id);
