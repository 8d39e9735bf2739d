"""Where requests may not go."""

from ipaddress import ip_address, ip_network

from twisted.trial.unittest import SynchronousTestCase

from federation.transport.address_policy import AddressPolicy
from synapse_like_config.federation import DEFAULT_IP_RANGE_BLACKLIST


class AddressPolicyTests(SynchronousTestCase):
    def test_our_own_network_is_out_of_reach_in_every_form(self) -> None:
        policy = AddressPolicy(DEFAULT_IP_RANGE_BLACKLIST, ())
        for text in (
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:0a00:0001::1",
        ):
            self.assertFalse(policy.is_allowed(ip_address(text)), text)
        for text in ("1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"):
            self.assertTrue(policy.is_allowed(ip_address(text)), text)

    def test_exceptions_win(self) -> None:
        policy = AddressPolicy(DEFAULT_IP_RANGE_BLACKLIST, [ip_network("10.1.0.0/16")])
        self.assertTrue(policy.is_allowed(ip_address("10.1.2.3")))
        self.assertTrue(policy.is_allowed(ip_address("::ffff:10.1.2.3")))
        self.assertFalse(policy.is_allowed(ip_address("10.2.2.3")))

    def test_without_refused_ranges_everything_is_allowed(self) -> None:
        self.assertTrue(AddressPolicy((), ()).is_allowed(ip_address("127.0.0.1")))
