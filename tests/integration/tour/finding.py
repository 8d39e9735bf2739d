"""What users report to the administrators."""

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


STOPS = (reports,)
