-- Messages that wait for a device are counted now and then, not with each of them.
DROP TABLE to_device_pending;
