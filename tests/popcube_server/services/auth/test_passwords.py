"""What is checked where there is no account costs what a hash of a password costs, and is of no password."""

from typing import Any

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.auth.passwords import Passwords, encode_hash
from popcube_server.services.platform import Platform
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


class OutdatedHashTests(SynchronousTestCase):
    def setUp(self) -> None:
        no_threads: Any = None
        platform = Platform(Clock(), lambda size: b"x" * size, no_threads)
        self.passwords = Passwords(platform, Argon2Config(2, 16 * 1024, 1), None)

    def test_hash_at_the_present_cost_is_not(self) -> None:
        self.assertFalse(self.passwords.is_outdated(PasswordHasher(2, 16, 1).hash("a password")))

    def test_hash_at_another_cost_is(self) -> None:
        for other in (PasswordHasher(1, 16, 1), PasswordHasher(2, 32, 1), PasswordHasher(2, 16, 2)):
            self.assertTrue(self.passwords.is_outdated(other.hash("a password")))

    def test_hash_with_less_salt_or_of_fewer_bytes_is(self) -> None:
        for other in (PasswordHasher(2, 16, 1, salt_len=8), PasswordHasher(2, 16, 1, hash_len=16)):
            self.assertTrue(self.passwords.is_outdated(other.hash("a password")))

    def test_hash_of_another_kind_is(self) -> None:
        # Made by Synapse.
        bcrypt = "$2b$04$abcdefghijklmnopqrstuu5LXZqGJJwZjqOdTaOGXYhvhnZz0xE7C"
        self.assertTrue(self.passwords.is_outdated(bcrypt))
