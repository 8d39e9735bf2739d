"""The section that names this site and its peers."""

from tests.synapse_like_config.config_case import KEY, ConfigTestCase

OWN = "  name: paris\n  certificate_path: /site.crt\n  private_key_path: /site.key\n"
PEER = (
    "    - name: lyon\n"
    "      url: https://lyon.example:8449/\n"
    f"      verify_key: ed25519:lyon {KEY}\n"
    "      certificate_path: /lyon.crt\n"
)


class SitesTests(ConfigTestCase):
    def test_without_the_section_there_is_one_site(self) -> None:
        self.assertIsNone(self.config().sites)

    def test_a_site_knows_itself_and_its_peers(self) -> None:
        sites = self.config(f"sites:\n{OWN}  peers:\n{PEER}").sites
        assert sites is not None
        self.assertEqual(("paris", "local", 5000), (sites.name, sites.durability, sites.fall_back_after_ms))
        (peer,) = sites.peers
        self.assertEqual(
            ("lyon", "https://lyon.example:8449", "ed25519:lyon"),
            (peer.name, peer.url, peer.verify_key.key_id),
        )
        self.assertEqual(32, len(peer.verify_key.key))

    def test_a_site_without_name_or_certificate_is_refused(self) -> None:
        self.assertEqual("sites.name", self.error("sites: {port: 1}\n").key)
        self.assertEqual("sites.certificate_path", self.error("sites: {name: paris}\n").key)

    def test_names_are_short_and_simple(self) -> None:
        self.assertEqual("sites.name", self.error("sites: {name: Paris-1}\n").key)

    def test_peers_are_whole(self) -> None:
        for line in PEER.splitlines(keepends=True)[1:]:
            text = PEER.replace(line, "")
            self.assertIn("peers", self.error(f"sites:\n{OWN}  peers:\n{text}").key)

    def test_links_without_tls_are_refused(self) -> None:
        text = PEER.replace("https:", "http:")
        self.assertEqual("sites.peers[0].url", self.error(f"sites:\n{OWN}  peers:\n{text}").key)

    def test_no_two_sites_share_a_name_or_a_key_id(self) -> None:
        self.assertEqual("sites.peers", self.error(f"sites:\n{OWN}  peers:\n{PEER}{PEER}").key)
        other = PEER.replace("name: lyon", "name: nice")
        self.assertIn("the same ID", str(self.error(f"sites:\n{OWN}  peers:\n{PEER}{other}")))
