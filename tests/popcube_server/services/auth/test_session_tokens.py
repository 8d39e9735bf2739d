"""Tokens: what we made is read back, and nothing else is."""

import random
from base64 import urlsafe_b64decode, urlsafe_b64encode

from pymacaroons import Macaroon, Verifier
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.services.auth.session_tokens import Purpose, SessionTokens, TokenClaims

CLAIMS = TokenClaims(Purpose.ACCESS, "@alice:one.example", "session", 3, "nonce", 1_700_000_000_000)


class SessionTokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tokens = SessionTokens("one.example", "secret")
        self.token = self.tokens.make(CLAIMS)

    def test_what_was_made_is_read_back(self) -> None:
        endless = TokenClaims(Purpose.REFRESH, "@é =\n:one.example", "s", 0, "n", None)
        for claims in (CLAIMS, endless):
            self.assertEqual(self.tokens.read(self.tokens.make(claims)), claims)

    def test_it_is_a_macaroon_that_others_can_check(self) -> None:
        verifier = Verifier()
        verifier.satisfy_general(lambda caveat: True)
        self.assertTrue(verifier.verify(Macaroon.deserialize(self.token), "secret"))

    def test_token_of_another_secret_or_server_is_none(self) -> None:
        self.assertIsNone(SessionTokens("one.example", "other").read(self.token))
        self.assertIsNone(SessionTokens("two.example", "secret").read(self.token))

    def test_caveats_cannot_be_appended(self) -> None:
        macaroon = Macaroon.deserialize(self.token)
        macaroon.add_first_party_caveat("user = @bob:one.example")
        self.assertIsNone(self.tokens.read(macaroon.serialize()))

    def test_spoiled_tokens_are_none_and_do_no_harm(self) -> None:
        chance = random.Random(1)
        data = urlsafe_b64decode(self.token + "=" * (-len(self.token) % 4))
        for _ in range(2000):
            spoiled = bytearray(data)
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    spoiled[at] ^= chance.randrange(1, 256)
                case 1:
                    del spoiled[at:]
                case 2:
                    spoiled[at:at] = chance.randbytes(chance.randrange(1, 5))
            self.assertIsNone(self.tokens.read(urlsafe_b64encode(spoiled).decode().rstrip("=")))

    def test_what_never_was_a_token_is_none(self) -> None:
        for text in (
            "",
            "=",
            "x",
            "é",
            "A" * 5000,
            "MDAwMA",
            self.token + "A",
            self.token + "=",
            " " + self.token,
        ):
            self.assertIsNone(self.tokens.read(text), text)
