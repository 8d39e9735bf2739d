"""Finding people, reporting them to the administrators, and telling third parties who one is."""

import time
from urllib.parse import quote

from tests.integration.tour.visit import Visit


def reports(visit: Visit) -> None:
    alice, bob, room_id = visit.pair_in_room("report_alice", "report_bob")
    event_id = alice.send_text(room_id, "Something rude")
    room = f"/rooms/{quote(room_id)}"
    assert bob.post(f"{room}/report/{quote(event_id)}", {"reason": "rude"}).expect(200) == {}
    assert bob.post(f"{room}/report", {"reason": "all of it"}).expect(200) == {}
    assert bob.post(f"/users/{quote(alice.user_id)}/report", {"reason": "always"}).expect(200) == {}
    bob.post(f"{room}/report/$unknown", {"reason": "rude"}).expect_error(404, "M_NOT_FOUND")


def people(visit: Visit) -> None:
    alice, bob, _ = visit.pair_in_room("people_alice", "people_bob")
    body = {"search_term": "people_b", "limit": 5}
    # The index follows the log.
    for _ in range(100):
        found = alice.post("/user_directory/search", body).expect(200)
        if found["results"]:
            break
        time.sleep(0.05)
    assert [one["user_id"] for one in found["results"]] == [bob.user_id], found


def third_parties(visit: Visit) -> None:
    user = visit.user("third_parties")
    token = user.post(f"/user/{quote(user.user_id)}/openid/request_token", {}).expect(200)
    assert token["token_type"] == "Bearer", token


STOPS = (
    reports,
    people,
    third_parties,
)
