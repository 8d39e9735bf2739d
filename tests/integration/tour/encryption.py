"""Keys of devices and users, and messages to devices. The keys are real, so that the server may check them."""

from typing import Any

from nacl.signing import SigningKey

from tests.integration.tour.visit import Visit, signed, unpadded
from tests.support.http_client import MatrixClient


def device_keys(user: MatrixClient, key: SigningKey) -> dict[str, Any]:
    value = {
        "user_id": user.user_id,
        "device_id": user.device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            f"ed25519:{user.device_id}": unpadded(key.verify_key.encode()),
            f"curve25519:{user.device_id}": unpadded(key.verify_key.to_curve25519_public_key().encode()),
        },
    }
    return signed(value, user.user_id, f"ed25519:{user.device_id}", key)


def cross_signing_key(user: MatrixClient, usage: str, key: SigningKey) -> dict[str, Any]:
    public = unpadded(key.verify_key.encode())
    return {"user_id": user.user_id, "usage": [usage], "keys": {f"ed25519:{public}": public}}


def devices_keys(visit: Visit) -> None:
    alice, bob, _ = visit.pair_in_room("keys_alice", "keys_bob")
    since = bob.get("/sync").expect(200)["next_batch"]
    key = SigningKey.generate()
    one_time = signed({"key": unpadded(b"1" * 32)}, alice.user_id, f"ed25519:{alice.device_id}", key)
    fallback = signed(
        {"key": unpadded(b"2" * 32), "fallback": True}, alice.user_id, f"ed25519:{alice.device_id}", key
    )
    body = {
        "device_keys": device_keys(alice, key),
        "one_time_keys": {"signed_curve25519:AAAA": one_time},
        "fallback_keys": {"signed_curve25519:BBBB": fallback},
    }
    counts = alice.post("/keys/upload", body).expect(200)["one_time_key_counts"]
    assert counts["signed_curve25519"] == 1, counts
    queried = bob.post("/keys/query", {"device_keys": {alice.user_id: []}}).expect(200)
    found = queried["device_keys"][alice.user_id][alice.device_id]
    assert found["keys"] == device_keys(alice, key)["keys"], found
    wanted = {"one_time_keys": {alice.user_id: {alice.device_id: "signed_curve25519"}}}
    claims = [bob.post("/keys/claim", wanted).expect(200)["one_time_keys"] for _ in range(2)]
    claimed = [claim[alice.user_id][alice.device_id] for claim in claims]
    assert claimed == [{"signed_curve25519:AAAA": one_time}, {"signed_curve25519:BBBB": fallback}], claimed
    until = bob.get("/sync", {"since": since}).expect(200)["next_batch"]
    changed = bob.get("/keys/changes", {"from": since, "to": until}).expect(200)["changed"]
    assert changed == [alice.user_id], changed


def cross_signing(visit: Visit) -> None:
    user = visit.user("cross_signing")
    device, master, self_signing, user_signing = (SigningKey.generate() for _ in range(4))
    user.post("/keys/upload", {"device_keys": device_keys(user, device)}).expect(200)
    master_id = "ed25519:" + unpadded(master.verify_key.encode())
    body = {
        "master_key": cross_signing_key(user, "master", master),
        "self_signing_key": signed(
            cross_signing_key(user, "self_signing", self_signing), user.user_id, master_id, master
        ),
        "user_signing_key": signed(
            cross_signing_key(user, "user_signing", user_signing), user.user_id, master_id, master
        ),
    }
    user.post("/keys/device_signing/upload", body).expect(200)
    self_signing_id = "ed25519:" + unpadded(self_signing.verify_key.encode())
    own = {name: item for name, item in device_keys(user, device).items() if name != "signatures"}
    signature = signed(own, user.user_id, self_signing_id, self_signing)
    uploaded = user.post("/keys/signatures/upload", {user.user_id: {user.device_id: signature}}).expect(200)
    assert uploaded.get("failures", {}) == {}, uploaded
    keys = user.post("/keys/query", {"device_keys": {user.user_id: []}}).expect(200)
    assert self_signing_id in keys["device_keys"][user.user_id][user.device_id]["signatures"][user.user_id], (
        keys
    )
    assert keys["master_keys"][user.user_id]["keys"] == body["master_key"]["keys"], keys


def to_device(visit: Visit) -> None:
    alice, bob = visit.user("device_alice"), visit.user("device_bob")
    since = bob.get("/sync").expect(200)["next_batch"]
    body = {"messages": {bob.user_id: {"*": {"secret": 7}}}}
    alice.put("/sendToDevice/org.example.secret/txn", body).expect(200)
    events = bob.get("/sync", {"since": since, "timeout": "30000"}).expect(200)["to_device"]["events"]
    expected = {"type": "org.example.secret", "sender": alice.user_id, "content": {"secret": 7}}
    assert events == [expected], events


SESSION = {
    "first_message_index": 1,
    "forwarded_count": 0,
    "is_verified": True,
    "session_data": {"ephemeral": "abc", "ciphertext": "def", "mac": "ghi"},
}


def key_backup(visit: Visit) -> None:
    user = visit.user("key_backup")
    algorithm = "m.megolm_backup.v1.curve25519-aes-sha2"
    body = {"algorithm": algorithm, "auth_data": {"public_key": unpadded(b"3" * 32), "signatures": {}}}
    version = user.post("/room_keys/version", body).expect(200)["version"]
    assert user.get("/room_keys/version").expect(200)["version"] == version
    path = f"/room_keys/version/{version}"
    user.put(path, {**body, "version": version}).expect(200)
    assert user.get(path).expect(200)["algorithm"] == algorithm
    for end, keys in (
        ("", {"rooms": {"!a:one.example": {"sessions": {"one": SESSION}}}}),
        ("/!a:one.example", {"sessions": {"two": SESSION}}),
        ("/!a:one.example/three", SESSION),
    ):
        user.put(f"/room_keys/keys{end}", keys, {"version": version}).expect(200)
    rooms = user.get("/room_keys/keys", {"version": version}).expect(200)["rooms"]
    assert set(rooms["!a:one.example"]["sessions"]) == {"one", "two", "three"}, rooms
    sessions = user.get("/room_keys/keys/!a:one.example", {"version": version}).expect(200)["sessions"]
    assert set(sessions) == {"one", "two", "three"}, sessions
    session = user.get("/room_keys/keys/!a:one.example/one", {"version": version}).expect(200)
    assert session == SESSION, session
    for end, left in (("/!a:one.example/one", 2), ("/!a:one.example", 0), ("", 0)):
        count = user.request("DELETE", f"/room_keys/keys{end}", query={"version": version}).expect(200)[
            "count"
        ]
        assert count == left, (end, count)
    user.delete(path).expect(200)
    user.get(path).expect_error(404, "M_NOT_FOUND")


STOPS = (
    devices_keys,
    cross_signing,
    to_device,
    key_backup,
)
