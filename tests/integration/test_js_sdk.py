"""matrix-js-sdk, unchanged, on Node: the library of Element Web and Cinny.

`js_sdk/driver.mjs` is the client that these tests run.
"""

from tests.integration.js_sdk_driver import run_driver
from tests.support.server_test_case import ServerProcessTestCase


class JsSdkTests(ServerProcessTestCase):
    def test_two_users_talk(self) -> None:
        run_driver(self.start_server().base_url, "plain")

    def test_two_users_talk_end_to_end_encrypted(self) -> None:
        run_driver(self.start_server().base_url, "encrypted")
