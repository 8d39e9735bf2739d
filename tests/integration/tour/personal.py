"""What belongs to one user: profile, account data, tags, filters, presence."""

from urllib.parse import quote

from tests.integration.tour.visit import Visit


def profile(visit: Visit) -> None:
    user = visit.user("profile")
    path = f"/profile/{quote(user.user_id)}"
    user.put(f"{path}/displayname", {"displayname": "Pro File"}).expect(200)
    user.put(f"{path}/org.example.color", {"org.example.color": "green"}).expect(200)
    assert user.get(f"{path}/displayname").expect(200) == {"displayname": "Pro File"}
    everything = user.get(path).expect(200)
    assert everything == {"displayname": "Pro File", "org.example.color": "green"}, everything
    user.delete(f"{path}/org.example.color").expect(200)
    user.get(f"{path}/org.example.color").expect_error(404, "M_NOT_FOUND")


def account_data(visit: Visit) -> None:
    user = visit.user("account_data")
    room_id = user.create_room()
    mine = f"/user/{quote(user.user_id)}"
    for path in (
        f"{mine}/account_data/org.example",
        f"{mine}/rooms/{quote(room_id)}/account_data/org.example",
    ):
        user.put(path, {"list": [1, 2]}).expect(200)
        assert user.get(path).expect(200) == {"list": [1, 2]}


def tags(visit: Visit) -> None:
    user = visit.user("tags")
    path = f"/user/{quote(user.user_id)}/rooms/{quote(user.create_room())}/tags"
    user.put(f"{path}/u.work", {"order": 0.5}).expect(200)
    assert user.get(path).expect(200) == {"tags": {"u.work": {"order": 0.5}}}
    user.delete(f"{path}/u.work").expect(200)
    assert user.get(path).expect(200) == {"tags": {}}


def filters(visit: Visit) -> None:
    user = visit.user("filters")
    path = f"/user/{quote(user.user_id)}/filter"
    wanted = {"room": {"timeline": {"limit": 3}}, "event_fields": ["type", "content"]}
    filter_id = user.post(path, wanted).expect(200)["filter_id"]
    assert user.get(f"{path}/{quote(filter_id)}").expect(200) == wanted
    user.get("/sync", {"filter": filter_id}).expect(200)


def presence(visit: Visit) -> None:
    user = visit.user("presence")
    path = f"/presence/{quote(user.user_id)}/status"
    user.put(path, {"presence": "online", "status_msg": "Here"}).expect(200)
    status = user.get(path).expect(200)
    assert (status["presence"], status["status_msg"]) == ("online", "Here"), status


def calls(visit: Visit) -> None:
    user = visit.user("calls")
    credentials = user.get("/voip/turnServer").expect(200)
    assert credentials["uris"] == ["turn:turn.one.example:3478"], credentials


STOPS = (
    profile,
    account_data,
    tags,
    filters,
    presence,
    calls,
)
