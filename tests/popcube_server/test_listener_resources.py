"""A listener answers for the resources that it was given, and for no others."""

from treq.testing import RequestTraversalAgent

from popcube_server.app import is_served
from popcube_server.rest.front_door.door import FrontDoor, JsonLimits
from popcube_server.rest.front_door.root import RootResource
from tests.popcube_server.server_case import ServerTestCase


class ListenerResourcesTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        names = frozenset({"client"})
        door = FrontDoor(
            find_site=self.find_site,
            x_forwarded=False,
            is_trusted_proxy=lambda peer: False,
            is_served=lambda path: is_served(names, path),
            json_limits=JsonLimits(1000, 10, 1000),
            timer_s=self.clock.seconds,
            new_request_id=lambda: "test",
        )
        self._agent = RequestTraversalAgent(RootResource(door))

    def test_resource_of_others_is_not_there(self) -> None:
        self.ok(self.get("/_matrix/client/versions"))
        self.assert_refused(self.get("/metrics"), 404, "M_UNRECOGNIZED")

    def test_percent_encoding_makes_no_other_resource_of_it(self) -> None:
        self.ok(self.get("/_matrix/%63lient/versions"))
        for path in (
            "/%6Detrics",
            "/_synapse/%6Detrics",
            "/_matrix/%66ederation/v1/version",
            "/_matrix/k%65y/v2/server",
        ):
            self.assert_refused(self.get(path), 404, "M_UNRECOGNIZED")
