"""Which options are others in another file."""

from synapse_like_config.differences import find_differences
from tests.synapse_like_config.config_case import KEY, ConfigTestCase
from tests.synapse_like_config.test_sites import OWN, PEER


class DifferencesTests(ConfigTestCase):
    def differences(self, one: str, other: str) -> list[str]:
        return list(find_differences(self.config(one), self.config(other)))

    def test_the_same_file_has_none(self) -> None:
        text = f"sites:\n{OWN}  peers:\n{PEER}"
        self.assertEqual(self.differences(text, text), [])

    def test_options_have_the_names_of_the_file(self) -> None:
        self.assertEqual(
            self.differences(
                "", "enable_registration: true\nenable_registration_without_verification: true\n"
            ),
            ["enable_registration", "enable_registration_without_verification"],
        )
        self.assertEqual(self.differences("", "popcube:\n  shutdown_grace: 5s\n"), ["popcube.shutdown_grace"])
        self.assertEqual(self.differences("", "database: {name: psycopg2, args: {}}\n")[0][:9], "database.")

    def test_a_section_that_comes_or_goes_is_named_as_a_whole(self) -> None:
        self.assertEqual(self.differences("", f"sites:\n{OWN}"), ["sites"])

    def test_of_a_list_it_is_told_that_it_differs(self) -> None:
        one = f"sites:\n{OWN}  peers:\n{PEER}"
        self.assertEqual(self.differences(one, f"sites:\n{OWN}"), ["sites.peers"])
        self.assertEqual(self.differences(one, one.replace(f"lyon {KEY}", f"other {KEY}")), ["sites.peers"])
