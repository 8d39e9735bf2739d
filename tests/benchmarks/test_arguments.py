"""What the command line of the benchmark makes of its arguments."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.__main__ import parse_arguments


class ArgumentsTest(SynchronousTestCase):
    def test_synapses_python_is_found_from_the_folder_where_the_command_was_given(self) -> None:
        arguments = parse_arguments(["--synapse-python", "somewhere/bin/python"])
        self.assertTrue(arguments.synapse_python.is_absolute())
