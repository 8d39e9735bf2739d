"""What a server says about itself to other servers, beside its keys."""

from popcube_server.version import NAME, VERSION
from tests.popcube_server.server_case import ONE, ServerTestCase


class VersionTests(ServerTestCase):
    def test_version_needs_no_signature(self) -> None:
        answer = self.ok(self.get("/_matrix/federation/v1/version"))
        self.assertEqual(answer, {"server": {"name": NAME, "version": VERSION}})

    def test_delegation_is_not_served_unless_wanted(self) -> None:
        self.assert_refused(self.get("/.well-known/matrix/server"), 404, "M_UNRECOGNIZED")


class WellKnownTests(ServerTestCase):
    extra_configuration = "serve_server_wellknown: true"

    def test_delegation_leads_to_the_port_of_clients(self) -> None:
        self.assertEqual(self.ok(self.get("/.well-known/matrix/server")), {"m.server": f"{ONE}:443"})
