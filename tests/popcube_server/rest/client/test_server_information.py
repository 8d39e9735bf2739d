"""What the server says about itself: versions, capabilities, well-known documents."""

from tests.popcube_server.rest.client.witnessed_case import WitnessedTestCase


class ServerInformationTests(WitnessedTestCase):
    def test_versions_are_told_with_and_without_a_token(self) -> None:
        anonymous = self.ok(self.get("/_matrix/client/versions"))
        for version in ("r0.6.1", "v1.1", "v1.16"):
            self.assertIn(version, anonymous["versions"])
        alice = self.given_user("alice")
        self.assertEqual(self.ok(self.get("/_matrix/client/versions", alice)), anonymous)

    def test_all_room_versions_are_stable_and_the_newest_is_the_default(self) -> None:
        alice = self.given_user("alice")
        capabilities = self.ok(self.get("/_matrix/client/v3/capabilities", alice))["capabilities"]
        self.assertEqual(
            capabilities["m.room_versions"],
            {"default": "12", "available": {str(version): "stable" for version in range(1, 13)}},
        )
        self.assertEqual(capabilities["m.change_password"], {"enabled": True})
        self.assertEqual(capabilities["m.3pid_changes"], {"enabled": False})
        self.assertEqual(capabilities["m.get_login_token"], {"enabled": False})

    def test_clients_find_the_server(self) -> None:
        answer = self.ok(self.get("/.well-known/matrix/client"))
        self.assertEqual(answer, {"m.homeserver": {"base_url": "https://one.example/"}})
        answer = self.ok(self.call("GET", "/.well-known/matrix/client", server_name="two.example"))
        self.assertEqual(answer, {"m.homeserver": {"base_url": "https://two.example/"}})

    def test_nobody_is_named_for_support_by_default(self) -> None:
        self.assert_refused(self.get("/.well-known/matrix/support"), 404, "M_NOT_FOUND")


class ConfiguredInformationTests(WitnessedTestCase):
    extra_configuration = """
admin_contact: mailto:admin@one.example
default_identity_server: https://identity.example
default_room_version: "11"
extra_well_known_client_content: {org.example.extra: {a: 1}}
"""

    def test_documents_say_what_is_configured(self) -> None:
        self.assertEqual(
            self.ok(self.get("/.well-known/matrix/client")),
            {
                "org.example.extra": {"a": 1},
                "m.homeserver": {"base_url": "https://one.example/"},
                "m.identity_server": {"base_url": "https://identity.example"},
            },
        )
        self.assertEqual(
            self.ok(self.get("/.well-known/matrix/support")),
            {"contacts": [{"email_address": "admin@one.example", "role": "m.role.admin"}]},
        )

    def test_default_room_version_is_the_configured_one(self) -> None:
        alice = self.given_user("alice")
        capabilities = self.ok(self.get("/_matrix/client/v3/capabilities", alice))["capabilities"]
        self.assertEqual(capabilities["m.room_versions"]["default"], "11")
