"""Events: sent, read in every way, redacted, related to each other, and synced."""

from urllib.parse import quote

from tests.integration.tour.visit import Visit


def sending_and_reading(visit: Visit) -> None:
    alice, bob, room_id = visit.pair_in_room("events_alice", "events_bob")
    room = f"/rooms/{quote(room_id)}"
    alice.put(f"{room}/state/m.room.topic/", {"topic": "A tour"}).expect(200)
    assert bob.get(f"{room}/state/m.room.topic/").expect(200)["topic"] == "A tour"
    whole = bob.get(f"{room}/state/m.room.topic/", {"format": "event"}).expect(200)
    assert whole["sender"] == alice.user_id, whole
    assert "m.room.create" in [event["type"] for event in bob.get(f"{room}/state").expect(200)]
    sent = [alice.send_text(room_id, f"Message {number}") for number in range(5)]
    page = bob.get(f"{room}/messages", {"dir": "b", "limit": "5"}).expect(200)
    assert [event["event_id"] for event in page["chunk"]] == sent[::-1], page
    context = bob.get(f"{room}/context/{quote(sent[2])}", {"limit": "2"}).expect(200)
    assert context["event"]["event_id"] == sent[2], context
    event = bob.get(f"{room}/event/{quote(sent[0])}").expect(200)
    at = {"ts": str(event["origin_server_ts"]), "dir": "f"}
    nearest = bob.get(f"/_matrix/client/v1{room}/timestamp_to_event", at).expect(200)
    assert nearest["origin_server_ts"] >= event["origin_server_ts"], nearest


def redaction(visit: Visit) -> None:
    alice, bob, room_id = visit.pair_in_room("redact_alice", "redact_bob")
    event_id = alice.send_text(room_id, "Mistaken")
    alice.put(f"/rooms/{quote(room_id)}/redact/{quote(event_id)}/txn", {"reason": "a test"}).expect(200)
    event = bob.get(f"/rooms/{quote(room_id)}/event/{quote(event_id)}").expect(200)
    assert event["content"] == {}, event
    assert event["unsigned"]["redacted_because"]["content"]["reason"] == "a test", event


def relations(visit: Visit) -> None:
    alice, bob, room_id = visit.pair_in_room("relate_alice", "relate_bob")
    root = alice.send_text(room_id, "Root")
    reply = {"msgtype": "m.text", "body": "Reply", "m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    path = f"/rooms/{quote(room_id)}/send/m.room.message/reply"
    reply_id = bob.put(path, reply).expect(200)["event_id"]
    related = f"/_matrix/client/v1/rooms/{quote(room_id)}/relations/{quote(root)}"
    for end in ("", "/m.thread", "/m.thread/m.room.message"):
        chunk = alice.get(related + end).expect(200)["chunk"]
        assert [event["event_id"] for event in chunk] == [reply_id], chunk
    threads = alice.get(f"/_matrix/client/v1/rooms/{quote(room_id)}/threads").expect(200)["chunk"]
    assert [event["event_id"] for event in threads] == [root], threads
    bundled = threads[0]["unsigned"]["m.relations"]["m.thread"]
    assert (bundled["count"], bundled["latest_event"]["event_id"]) == (1, reply_id), bundled


def syncing(visit: Visit) -> None:
    alice, bob, room_id = visit.pair_in_room("sync_alice", "sync_bob")
    first = bob.get("/sync").expect(200)
    assert room_id in first["rooms"]["join"], first
    event_id = alice.send_text(room_id, "News")
    news = bob.get("/sync", {"since": first["next_batch"], "timeout": "30000"}).expect(200)
    timeline = news["rooms"]["join"][room_id]["timeline"]
    assert [event["event_id"] for event in timeline["events"]] == [event_id], timeline
    bob.get("/sync", {"since": news["next_batch"], "full_state": "true"}).expect(200)
    bob.get("/sync", {"since": first["next_batch"], "use_state_after": "true"}).expect(200)


def what_is_read_and_typed(visit: Visit) -> None:
    alice, bob, room_id = visit.pair_in_room("receipt_alice", "receipt_bob")
    room = f"/rooms/{quote(room_id)}"
    event_id = alice.send_text(room_id, "Read this")
    since = alice.get("/sync").expect(200)["next_batch"]
    bob.post(f"{room}/receipt/m.read/{quote(event_id)}", {"thread_id": "main"}).expect(200)
    bob.post(f"{room}/read_markers", {"m.fully_read": event_id, "m.read": event_id}).expect(200)
    bob.put(f"{room}/typing/{quote(bob.user_id)}", {"typing": True, "timeout": 20_000}).expect(200)
    seen: set[str] = set()
    while not seen >= {"m.receipt", "m.typing"}:
        news = alice.get("/sync", {"since": since, "timeout": "30000"}).expect(200)
        assert news["next_batch"] != since, f"nothing came but {seen}"
        since = news["next_batch"]
        joined = news.get("rooms", {}).get("join", {}).get(room_id, {})
        seen |= {event["type"] for event in joined.get("ephemeral", {}).get("events", [])}


STOPS = (
    sending_and_reading,
    redaction,
    relations,
    syncing,
    what_is_read_and_typed,
)
