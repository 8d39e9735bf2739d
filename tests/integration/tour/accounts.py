"""Registration, sessions, the account, devices."""

from urllib.parse import quote

from tests.integration.tour.visit import PASSWORD, Visit, register_admin, with_password


def discovery(visit: Visit) -> None:
    nobody = visit.open_client()
    versions = nobody.get("/_matrix/client/versions").expect(200)["versions"]
    assert "v1.11" in versions, versions
    base_url = nobody.get("/.well-known/matrix/client").expect(200)["m.homeserver"]["base_url"]
    assert base_url.startswith("http"), base_url
    contacts = nobody.get("/.well-known/matrix/support").expect(200)["contacts"]
    assert contacts[0]["email_address"] == "admin@one.example", contacts
    capabilities = visit.user("discovery").get("/capabilities").expect(200)["capabilities"]
    assert capabilities["m.room_versions"]["default"] == "12", capabilities


def registration(visit: Visit) -> None:
    nobody = visit.open_client()
    nobody.get("/register/available", {"username": "newcomer"}).expect(200)
    visit.user("newcomer")
    nobody.get("/register/available", {"username": "newcomer"}).expect_error(400, "M_USER_IN_USE")
    validity = "/_matrix/client/v1/register/m.login.registration_token/validity"
    assert nobody.get(validity, {"token": "unknown"}).expect(200) == {"valid": False}


def sessions(visit: Visit) -> None:
    user = visit.user("sessions")
    flows = [flow["type"] for flow in user.get("/login").expect(200)["flows"]]
    assert "m.login.password" in flows, flows
    second = visit.open_client().log_in("sessions", PASSWORD)
    assert second.device_id != user.device_id
    assert second.get("/account/whoami").expect(200)["device_id"] == second.device_id
    second.post("/logout").expect(200)
    second.get("/account/whoami").expect_error(401, "M_UNKNOWN_TOKEN")
    third = visit.open_client().log_in("sessions", PASSWORD)
    third.post("/logout/all").expect(200)
    user.get("/account/whoami").expect_error(401, "M_UNKNOWN_TOKEN")


def refresh_tokens(visit: Visit) -> None:
    visit.user("refresh")
    client = visit.open_client()
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "refresh"},
        "password": PASSWORD,
        "refresh_token": True,
    }
    session = client.post("/login", body).expect(200)
    renewed = client.post("/refresh", {"refresh_token": session["refresh_token"]}).expect(200)
    client.access_token = renewed["access_token"]
    client.get("/account/whoami").expect(200)
    client.access_token = session["access_token"]
    client.get("/account/whoami").expect_error(401, "M_UNKNOWN_TOKEN")


def login_token(visit: Visit) -> None:
    user = visit.user("login_token")
    token = with_password(user, "POST", "/_matrix/client/v1/login/get_token", {})["login_token"]
    session = visit.open_client().post("/login", {"type": "m.login.token", "token": token}).expect(200)
    assert session["user_id"] == user.user_id


def password(visit: Visit) -> None:
    user = visit.user("password")
    with_password(user, "POST", "/account/password", {"new_password": "a quite different one"})
    visit.open_client().log_in("password", "a quite different one")


def deactivation(visit: Visit) -> None:
    user = visit.user("deactivation")
    with_password(user, "POST", "/account/deactivate", {})
    user.get("/account/whoami").expect_error(401, "M_UNKNOWN_TOKEN")


def devices(visit: Visit) -> None:
    user = visit.user("devices")
    others = [visit.open_client().log_in("devices", PASSWORD).device_id for _ in range(3)]
    path = f"/devices/{others[0]}"
    user.put(path, {"display_name": "A phone"}).expect(200)
    assert user.get(path).expect(200)["display_name"] == "A phone"
    listed = {device["device_id"] for device in user.get("/devices").expect(200)["devices"]}
    assert listed == {user.device_id, *others}, listed
    with_password(user, "DELETE", path, {})
    with_password(user, "POST", "/delete_devices", {"devices": others[1:]})
    listed = {device["device_id"] for device in user.get("/devices").expect(200)["devices"]}
    assert listed == {user.device_id}, listed


def addresses(visit: Visit) -> None:
    user = visit.user("addresses")
    assert user.get("/account/3pid").expect(200) == {"threepids": []}


def administration(visit: Visit) -> None:
    admin, user = register_admin(visit, "administrator"), visit.user("administered")
    whois = admin.get(f"/admin/whois/{quote(user.user_id)}").expect(200)
    assert user.device_id in whois["devices"], whois
    for what, state, refusal in (("lock", "locked", 401), ("suspend", "suspended", 403)):
        path = f"/_matrix/client/v1/admin/{what}/{quote(user.user_id)}"
        user.get(path).expect_error(403, "M_FORBIDDEN")
        admin.put(path, {state: True}).expect(200)
        assert admin.get(path).expect(200) == {state: True}
        assert user.post("/createRoom", {}).status == refusal
        admin.put(path, {state: False}).expect(200)
        assert admin.get(path).expect(200) == {state: False}
    user.create_room()


STOPS = (
    discovery,
    registration,
    sessions,
    refresh_tokens,
    login_token,
    password,
    deactivation,
    devices,
    addresses,
    administration,
)
