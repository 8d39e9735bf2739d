"""Rooms, who is in them, and where they are found."""

from urllib.parse import quote

from tests.integration.tour.visit import Visit
from tests.support.configuration import SERVER_NAME
from tests.support.identity_process import running_identity_server


def membership(visit: Visit) -> None:
    owner, guest, room_id = visit.pair_in_room("member_owner", "member_guest")
    room = f"/rooms/{quote(room_id)}"
    assert guest.get("/joined_rooms").expect(200) == {"joined_rooms": [room_id]}
    assert set(owner.get(f"{room}/joined_members").expect(200)["joined"]) == {owner.user_id, guest.user_id}
    target = {"user_id": guest.user_id, "reason": "a test"}
    owner.post(f"{room}/kick", target).expect(200)
    owner.post(f"{room}/ban", target).expect(200)
    owner.post(f"{room}/unban", target).expect(200)
    owner.post(f"{room}/invite", target).expect(200)
    guest.post(f"/join/{quote(room_id)}", {}).expect(200)
    guest.post(f"{room}/leave", {"reason": "enough"}).expect(200)
    members = owner.get(f"{room}/members").expect(200)["chunk"]
    found = {event["state_key"]: event["content"]["membership"] for event in members}
    assert found == {owner.user_id: "join", guest.user_id: "leave"}, found
    guest.post(f"{room}/forget").expect(200)


def invite_by_address(visit: Visit) -> None:
    owner = visit.user("address_owner")
    room = f"/rooms/{quote(owner.create_room())}"
    with running_identity_server() as id_server:
        invite = {
            "id_server": id_server,
            "id_access_token": "any",
            "medium": "email",
            "address": "n@m.example",
        }
        owner.post(f"{room}/invite", invite).expect(200)
    content = owner.get(f"{room}/state/m.room.third_party_invite/a-token").expect(200)
    assert content["display_name"] == "n...@m...", content


def knocking(visit: Visit) -> None:
    owner, guest = visit.user("knock_owner"), visit.user("knock_guest")
    rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = owner.create_room(initial_state=[rule])
    guest.post(f"/knock/{quote(room_id)}", {"reason": "let me in"}).expect(200)
    assert room_id in guest.get("/sync").expect(200)["rooms"]["knock"]
    owner.post(f"/rooms/{quote(room_id)}/invite", {"user_id": guest.user_id}).expect(200)
    assert room_id in guest.get("/sync").expect(200)["rooms"]["invite"]


def aliases(visit: Visit) -> None:
    user = visit.user("aliases")
    room_id = user.create_room()
    alias = f"#tour:{SERVER_NAME}"
    path = f"/directory/room/{quote(alias)}"
    user.put(path, {"room_id": room_id}).expect(200)
    assert user.get(path).expect(200)["room_id"] == room_id
    assert user.get(f"/rooms/{quote(room_id)}/aliases").expect(200) == {"aliases": [alias]}
    user.delete(path).expect(200)
    user.get(path).expect_error(404, "M_NOT_FOUND")


def public_rooms(visit: Visit) -> None:
    user = visit.user("public_rooms")
    room_id = user.create_room(preset="public_chat", name="Listed")
    path = f"/directory/list/room/{quote(room_id)}"
    user.put(path, {"visibility": "public"}).expect(200)
    assert user.get(path).expect(200) == {"visibility": "public"}
    listed = user.get("/publicRooms", {"limit": "100"}).expect(200)["chunk"]
    assert room_id in [room["room_id"] for room in listed], listed
    found = user.post("/publicRooms", {"filter": {"generic_search_term": "listed"}}).expect(200)["chunk"]
    assert [room["room_id"] for room in found] == [room_id], found


def upgrade(visit: Visit) -> None:
    user = visit.user("upgrade")
    old = user.create_room(room_version="10", name="Moves")
    new = user.post(f"/rooms/{quote(old)}/upgrade", {"new_version": "12"}).expect(200)["replacement_room"]
    tombstone = user.get(f"/rooms/{quote(old)}/state/m.room.tombstone/").expect(200)
    assert tombstone["replacement_room"] == new, tombstone


def spaces(visit: Visit) -> None:
    user = visit.user("spaces")
    space = user.create_room(creation_content={"type": "m.space"}, preset="public_chat")
    child = user.create_room(preset="public_chat", name="Child")
    path = f"/rooms/{quote(space)}/state/m.space.child/{quote(child)}"
    user.put(path, {"via": [SERVER_NAME]}).expect(200)
    hierarchy = user.get(f"/_matrix/client/v1/rooms/{quote(space)}/hierarchy").expect(200)["rooms"]
    assert [room["room_id"] for room in hierarchy] == [space, child], hierarchy


def previews(visit: Visit) -> None:
    alice, bob, room_id = visit.pair_in_room("preview_owner", "preview_guest")
    summary = bob.get(f"/_matrix/client/v1/room_summary/{quote(room_id)}").expect(200)
    assert (summary["room_id"], summary["membership"]) == (room_id, "join"), summary
    mutual = alice.get("/_matrix/client/v1/mutual_rooms", {"user_id": bob.user_id}).expect(200)
    assert mutual["joined"] == [room_id], mutual
    initial = bob.get(f"/rooms/{quote(room_id)}/initialSync").expect(200)
    assert initial["room_id"] == room_id, initial


STOPS = (
    previews,
    membership,
    invite_by_address,
    knocking,
    aliases,
    public_rooms,
    upgrade,
    spaces,
)
