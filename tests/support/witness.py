"""Judges what a server answered, and keeps account of the operations that were called with success."""

from collections.abc import Mapping
from typing import Any

from tests.support.coverage import CoverageRecorder
from tests.support.openapi import Specification, SpecificationViolation


class Witness:
    """Sees each exchange of a test, over sockets or within the process."""

    def __init__(self, judge: Specification, recorder: CoverageRecorder) -> None:
        self._judge = judge
        self._recorder = recorder

    def recorded(self) -> frozenset[str]:
        """The names of the operations that this witness has seen succeed."""
        return self._recorder.recorded()

    def saw(
        self,
        method: str,
        target: str,
        request_body: Any,
        status: int,
        headers: Mapping[str, str],
        body: Any,
    ) -> None:
        """Raises SpecificationViolation if an answer to a specified operation differs from what was promised.

        `target` is the path with its query, `headers` has lower-case names, the bodies are parsed JSON or None.
        What the specification does not describe (`/metrics`, `/_synapse`) passes.
        """
        operation = self._judge.find_operation(method, target, body=request_body)
        if operation is None:
            return
        try:
            self._judge.validate_operation_response(operation, status, body, headers.get("content-type", ""))
        except SpecificationViolation as violation:
            raise SpecificationViolation(f"{violation}\nThe answer was: {str(body)[:2000]}") from violation
        self._recorder.record(operation, status)
