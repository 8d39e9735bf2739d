-- When the keys that others see of a user last changed: devices, cross-signing keys, signatures.
CREATE TABLE device_list_changes (
    -- Whose keys.
    user_nid BIGINT NOT NULL,
    -- Who can see the difference: a user, or 0 for everybody who shares a room.
    viewer_nid BIGINT NOT NULL,
    -- Log position of the newest change.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, viewer_nid)
);
CREATE INDEX device_list_changes_by_position ON device_list_changes (viewer_nid, position);

-- Who came or went since a position, whatever the size of the rooms.
CREATE INDEX memberships_by_position ON memberships (position);
