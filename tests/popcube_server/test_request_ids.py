"""Each request of a server has a name of its own."""

from twisted.trial.unittest import SynchronousTestCase

from popcube_server.request_context import RequestIds


class RequestIdsTests(SynchronousTestCase):
    def test_ids_differ_within_a_start_and_from_those_of_another(self) -> None:
        first, second = RequestIds("a1b2c3"), RequestIds("d4e5f6")
        ids = [first.new(), first.new(), second.new(), second.new()]
        self.assertEqual(len(set(ids)), 4)
        self.assertTrue(all(one.isascii() and one.isprintable() and " " not in one for one in ids))
