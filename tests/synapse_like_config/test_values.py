"""How single values are written."""

from hypothesis import given
from hypothesis import strategies as st

from synapse_like_config.errors import WrongValue
from synapse_like_config.parsers import duration_to_ms, size_to_bytes
from tests.synapse_like_config.config_case import ConfigTestCase


class NotationTests(ConfigTestCase):
    def test_times_are_milliseconds_or_have_a_unit(self) -> None:
        hour = 60 * 60 * 1000
        expected = {"0": 0, "1500": 1500, "30s": 30_000, "0.5s": 500, "5m": 300_000, "2h": 2 * hour}
        expected |= {"7d": 7 * 24 * hour, "1w": 7 * 24 * hour, "1y": 365 * 24 * hour}
        self.assertEqual(expected, {text: duration_to_ms(text) for text in expected})

    def test_sizes_are_bytes_or_have_a_unit(self) -> None:
        expected = {
            "0": 0,
            "1000": 1000,
            "512K": 512 * 1024,
            "50M": 50 * 1024**2,
            "2G": 2 * 1024**3,
            "1T": 1024**4,
        }
        self.assertEqual(expected, {text: size_to_bytes(text) for text in expected})

    def test_other_notations_are_refused(self) -> None:
        for text in ("", "m", "5 m", "5min", "-5m", "1e3", "5M"):
            self.assertRaises(WrongValue, duration_to_ms, text)
        for text in ("", "M", "50 M", "50MB", "50m", "-1", "0.5M"):
            self.assertRaises(WrongValue, size_to_bytes, text)

    @given(st.text(max_size=20))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        for read in (duration_to_ms, size_to_bytes):
            try:
                self.assertTrue(read(text) >= 0)
            except WrongValue as wrong:
                self.assertIn("must be a", wrong.message)

    def test_booleans_are_those_of_yaml_1_1(self) -> None:
        for text in ("true", "True", "yes", "on"):
            self.assertTrue(self.config(f"allow_guest_access: {text}\n").registration.allow_guest_access)
        for text in ("false", "No", "off"):
            self.assertFalse(self.config(f"allow_guest_access: {text}\n").registration.allow_guest_access)
        self.assertIn("without quotes", str(self.error("allow_guest_access: 'true'\n")))

    def test_the_word_off_as_a_choice_is_the_word(self) -> None:
        config = self.config("encryption_enabled_by_default_for_room_type: off\n")
        self.assertEqual("off", config.rooms.encryption_enabled_by_default_for_room_type)

    def test_a_number_as_a_string_keeps_how_it_was_written(self) -> None:
        config = self.config("turn_shared_secret: 0123\ndefault_room_version: 10\n")
        self.assertEqual("0123", config.turn.turn_shared_secret)
        self.assertEqual("10", config.rooms.default_room_version)

    def test_a_quoted_number_is_a_number(self) -> None:
        self.assertEqual(10, self.config("bcrypt_rounds: '10'\n").passwords.bcrypt_rounds)

    def test_numbers_outside_their_range_are_refused(self) -> None:
        self.assertEqual(4, self.config("bcrypt_rounds: 4\n").passwords.bcrypt_rounds)
        self.assertIn("must be at least 4, not 3", str(self.error("bcrypt_rounds: 3\n")))
        self.assertIn("must be at most 31, not 32", str(self.error("bcrypt_rounds: 32\n")))
        self.assertIn("must be a whole number", str(self.error("bcrypt_rounds: 4.5\n")))
        self.assertIn("must be at least 0", str(self.error("rc_message: {per_second: -1}\n")))
        self.assertIn("must be a number", str(self.error("rc_message: {per_second: .nan}\n")))

    def test_null_is_absent_or_nothing(self) -> None:
        # An empty `rc_message:` in a file means that its content is commented out.
        self.assertEqual(10, self.config("rc_message:\n").rate_limits.rc_message.burst_count)
        self.assertEqual(7 * 86_400_000, self.config().rooms.redaction_retention_period_ms)
        self.assertIsNone(
            self.config("redaction_retention_period: null\n").rooms.redaction_retention_period_ms
        )
