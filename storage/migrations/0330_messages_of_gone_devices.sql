-- Messages that wait for devices which are gone: versions before did not take all of them along. What another site took
-- stays: its device may be on the way here.
CREATE TABLE devices_there_are (
    user_nid BIGINT NOT NULL,
    -- The device ID, as in to_device_inbox.
    device BYTEA NOT NULL,
    PRIMARY KEY (user_nid, device)
);
INSERT INTO devices_there_are (user_nid, device)
    SELECT n.nid, convert_to(d.device_id, 'UTF8') FROM devices d
    JOIN names n ON n.name = convert_to(d.user_id, 'UTF8');
DELETE FROM to_device_inbox WHERE log IS NULL AND NOT EXISTS (
    SELECT 1 FROM devices_there_are d
    WHERE d.user_nid = to_device_inbox.user_nid AND d.device = to_device_inbox.device);
DROP TABLE devices_there_are;

-- Shared events wait for fewer devices then, or for none.
CREATE TABLE events_that_wait (
    position BIGINT NOT NULL,
    number BIGINT NOT NULL,
    -- How many rows of to_device_inbox refer to it.
    waiting BIGINT NOT NULL,
    PRIMARY KEY (position, number)
);
INSERT INTO events_that_wait (position, number, waiting)
    SELECT position, shared, COUNT(*) FROM to_device_inbox WHERE shared IS NOT NULL GROUP BY position, shared;
DELETE FROM to_device_shared WHERE NOT EXISTS (
    SELECT 1 FROM events_that_wait w
    WHERE w.position = to_device_shared.position AND w.number = to_device_shared.number);
UPDATE to_device_shared SET waiting = (
    SELECT w.waiting FROM events_that_wait w
    WHERE w.position = to_device_shared.position AND w.number = to_device_shared.number)
    WHERE waiting <> (
    SELECT w.waiting FROM events_that_wait w
    WHERE w.position = to_device_shared.position AND w.number = to_device_shared.number);
DROP TABLE events_that_wait;
