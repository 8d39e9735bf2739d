"""What is checked where there is no account costs what a hash of a password costs, and is of no password."""

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.auth.passwords import encode_hash
from synapse_like_config.popcube import Argon2Config


class HashOfNobodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cost = Argon2Config(time_cost=3, memory_bytes=64 * 1024, parallelism=2)
        self.hasher = PasswordHasher(time_cost=3, memory_cost=64, parallelism=2)
        self.nobody = encode_hash(self.cost, b"\x00\xff" * 8, b"\x01\xfe" * 16)

    def test_it_has_the_form_and_the_cost_of_a_true_one(self) -> None:
        true = self.hasher.hash("a password")
        self.assertEqual(extract_parameters(true), extract_parameters(self.nobody))
        self.assertEqual(len(true), len(self.nobody))

    def test_it_is_computed_and_is_of_no_password(self) -> None:
        # Not InvalidHashError or any other VerificationError, which would come without computing.
        with self.assertRaises(VerifyMismatchError):
            self.hasher.verify(self.nobody, "a password")
