-- Keys that are given out once, named by their place in the order in which they are: to give one out is to look for the
-- lowest place of its pool, and new ones go to the end of the table. That a device has no two keys of one name is seen
-- to by the upload, which reads what there is.
CREATE TABLE one_time_keys_by_place (
    -- Log position of the upload * 1024 + the number of the key in it.
    place BIGINT PRIMARY KEY,
    user_nid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    algorithm BYTEA NOT NULL,
    -- The part of the key's name behind the algorithm.
    key_id BYTEA NOT NULL,
    -- Canonical JSON of the key: a string or an object.
    json BYTEA NOT NULL
);
INSERT INTO one_time_keys_by_place (place, user_nid, device, algorithm, key_id, json)
    SELECT position * 1024 + ROW_NUMBER() OVER (PARTITION BY position ORDER BY key_id, algorithm) - 1,
    user_nid, device, algorithm, key_id, json FROM one_time_keys;
DROP TABLE one_time_keys;
ALTER TABLE one_time_keys_by_place RENAME TO one_time_keys;
CREATE INDEX one_time_keys_of_pool ON one_time_keys (user_nid, device, algorithm, place);
