"""Push rules and what they lead to."""

from urllib.parse import quote

from tests.integration.tour.visit import Visit


def rules(visit: Visit) -> None:
    user = visit.user("push_rules")
    assert user.get("/pushrules/").expect(200)["global"]["override"]
    assert user.get("/pushrules/global/").expect(200)["underride"]
    path = "/pushrules/global/content/org.example.rule"
    user.put(path, {"actions": ["notify"], "pattern": "tour"}).expect(200)
    assert user.get(path).expect(200)["pattern"] == "tour"
    user.put(f"{path}/enabled", {"enabled": False}).expect(200)
    assert user.get(f"{path}/enabled").expect(200) == {"enabled": False}
    actions = ["notify", {"set_tweak": "highlight"}]
    user.put(f"{path}/actions", {"actions": actions}).expect(200)
    assert user.get(f"{path}/actions").expect(200) == {"actions": actions}
    user.delete(path).expect(200)
    user.get(path).expect_error(404, "M_NOT_FOUND")


def notifications(visit: Visit) -> None:
    alice, bob, room_id = visit.pair_in_room("notify_alice", "notify_bob")
    content = {"msgtype": "m.text", "body": "Bob!", "m.mentions": {"user_ids": [bob.user_id]}}
    path = f"/rooms/{quote(room_id)}/send/m.room.message/mention"
    event_id = alice.put(path, content).expect(200)["event_id"]
    counts = bob.get("/sync").expect(200)["rooms"]["join"][room_id]["unread_notifications"]
    assert counts["highlight_count"] == 1, counts
    listed = bob.get("/notifications").expect(200)["notifications"]
    assert event_id in [one["event"]["event_id"] for one in listed], listed


def pushers(visit: Visit) -> None:
    user = visit.user("pushers")
    pusher = {
        "kind": "http",
        "app_id": "org.example.app",
        "pushkey": "a key",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": "https://push.example.org/_matrix/push/v1/notify"},
    }
    user.post("/pushers/set", pusher).expect(200)
    listed = user.get("/pushers").expect(200)["pushers"]
    assert [one["pushkey"] for one in listed] == ["a key"], listed
    user.post("/pushers/set", {"kind": None, "app_id": "org.example.app", "pushkey": "a key"}).expect(200)
    assert user.get("/pushers").expect(200) == {"pushers": []}


STOPS = (
    pushers,
    rules,
    notifications,
)
