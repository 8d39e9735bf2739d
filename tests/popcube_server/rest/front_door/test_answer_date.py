"""Each answer says what time it is."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from popcube_server.rest.front_door.answer_date import AnswerDate


class AnswerDateTests(SynchronousTestCase):
    def test_it_is_the_time_of_the_answer(self) -> None:
        clock = Clock()
        date = AnswerDate(clock.seconds)
        # The example of RFC 9110, 5.6.7.
        clock.advance(784111777)
        self.assertEqual(date.text(), b"Sun, 06 Nov 1994 08:49:37 GMT")
        clock.advance(0.9)
        self.assertEqual(date.text(), b"Sun, 06 Nov 1994 08:49:37 GMT")
        clock.advance(0.1)
        self.assertEqual(date.text(), b"Sun, 06 Nov 1994 08:49:38 GMT")
        clock.rightNow -= 1
        self.assertEqual(date.text(), b"Sun, 06 Nov 1994 08:49:37 GMT")
