"""The specification's OpenAPI data as a judge: does this request, or this answer, have the promised shape?

The data are in `shared/spec` beside the checkout, or where the environment variable POPCUBE_SPEC_DIR says; its
README.md tells how they are to be read. Files are read and schemas compiled when first needed, and kept.
"""

import csv
import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

CHECKOUT = Path(__file__).resolve().parents[2]
STANDARD_ERROR = "api/client-server/definitions/errors/error.yaml"
JSON = "application/json"
SHOWN_ERRORS = 8


class SpecificationViolation(AssertionError):
    """What was sent or answered differs from the specification. The text says where."""


@dataclass(frozen=True)
class Operation:
    """One row of endpoints.tsv. `api` is cs, ss, as or push; `name` is unique."""

    api: str
    method: str
    path: str
    operation_id: str
    auth: str
    deprecated: bool
    file: str

    @property
    def name(self) -> str:
        return f"{self.api} {self.operation_id}"


def specification_directory() -> Path:
    return Path(os.environ.get("POPCUBE_SPEC_DIR") or CHECKOUT.parent / "shared" / "spec").resolve()


class _PlainLoader(yaml.CSafeLoader):
    """YAML as JSON has it: a date stays a string, a key that looks like a number too."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _as_json(node: Any, *, in_schema_map: bool = False) -> Any:
    """Keys as strings, and each `oneOf` as `anyOf`: the alternatives of the data overlap."""
    if isinstance(node, list):
        return [_as_json(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {str(key): _as_json(value, in_schema_map=key == "properties") for key, value in node.items()}
    if not in_schema_map and isinstance(plain.get("oneOf"), list):
        alternatives = {"anyOf": plain.pop("oneOf")}
        plain["allOf"] = [*plain.get("allOf", []), alternatives]
    return plain


class SpecificationFiles:
    """The files of the data, each under the URI of its path, and what their references point to."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "data"
        self._loaded: dict[str, Any] = {}
        self.registry: Registry[Any] = Registry(retrieve=self._retrieve)  # type: ignore[call-arg]

    def uri(self, relative_path: str) -> str:
        return (self._data / relative_path).as_uri()

    def load(self, uri: str) -> Any:
        """The whole file, references unresolved."""
        if uri not in self._loaded:
            text = Path(urlsplit(uri).path).read_text(encoding="utf-8")
            self._loaded[uri] = _as_json(yaml.load(text, Loader=_PlainLoader))
        return self._loaded[uri]

    def follow(self, node: Any, uri: str) -> tuple[Any, str]:
        """The node that a chain of references ends in, and the URI of the place where it stands."""
        while isinstance(node, dict) and "$ref" in node:
            uri = urljoin(uri, node["$ref"])
            node = self.at(uri)
        return node, uri

    def at(self, uri: str) -> Any:
        """What stands at a URI; it may be a reference itself."""
        document, _, pointer = uri.partition("#")
        node = self.load(document)
        for part in pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            node = node[int(key)] if isinstance(node, list) else node[key]
        return node

    def _retrieve(self, uri: str) -> Resource[Any]:
        return DRAFT202012.create_resource(self.load(uri))


def pointer(*parts: str) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def path_pattern(template: str) -> re.Pattern[str]:
    """What a template matches; the last parameter may be empty (`/state/m.room.name/`)."""
    pieces = re.split(r"(\{[^}]*\})", template)
    pattern = "".join("[^/]+" if piece.startswith("{") else re.escape(piece) for piece in pieces)
    if template.endswith("}"):
        pattern = pattern.removesuffix("+") + "*"
    return re.compile(pattern)


def described(error: ValidationError) -> Iterator[str]:
    """One line for each thing wrong; of alternatives, the nearest."""
    nearest = best_match([error])
    for one in (nearest or error, *([error] if error.validator == "anyOf" else [])):
        message = one.message if len(one.message) < 300 else one.message[:300] + "..."
        yield f"{one.json_path}: {message}"


class Specification:
    """The operations of the specification, and whether requests and answers have the shape that they give."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = SpecificationFiles(directory)
        self._validators: dict[str, Draft202012Validator] = {}
        self._operations = tuple(self._read_operations())
        # A template with fewer parameters is tried first: /pushrules/global before /pushrules/{scope}.
        in_order = sorted(self._operations, key=lambda operation: operation.path.count("{"))
        self._patterns = [(path_pattern(operation.path), operation) for operation in in_order]

    def operations(self) -> tuple[Operation, ...]:
        """All rows of endpoints.tsv, in its order."""
        return self._operations

    def find_operation(self, method: str, url_path: str, *, body: Any = None) -> Operation | None:
        """The operation that a request is for; `url_path` as sent, with or without a query."""
        path, _, query = url_path.partition("?")
        path = re.sub(r"^/_matrix/(client|media)/r0/", r"/_matrix/\1/v3/", path)
        found = [
            operation
            for pattern, operation in self._patterns
            if operation.method == method and pattern.fullmatch(path)
        ]
        if not found:
            return None
        fewest = found[0].path.count("{")
        best = [operation for operation in found if operation.path.count("{") == fewest]
        return best[0] if len(best) == 1 else self._told_apart(best, query, body)

    def validate_response(
        self,
        method: str,
        url_path: str,
        status: int,
        json_body: Any,
        content_type: str = JSON,
        *,
        request_body: Any = None,
    ) -> Operation:
        """Check an answer. `json_body` is its parsed body, or None if it is not JSON.

        Raises SpecificationViolation, also if the specification has no such operation.
        """
        operation = self._expect_operation(method, url_path, request_body)
        self.validate_operation_response(operation, status, json_body, content_type)
        return operation

    def validate_operation_response(
        self, operation: Operation, status: int, json_body: Any, content_type: str = JSON
    ) -> None:
        """Like `validate_response`, for an operation that is known."""
        title = f"{operation.method} {operation.path} ({operation.operation_id}) answered {status}"
        schema_uri = self._response_schema(operation, status, content_type, title)
        if schema_uri is not None:
            self._validate(schema_uri, json_body, title)

    def validate_request(self, method: str, url_path: str, json_body: Any) -> Operation:
        """Check the body of a request. Raises SpecificationViolation."""
        operation = self._expect_operation(method, url_path, json_body)
        node, uri = self._operation_node(operation)
        if "requestBody" in node:
            request, uri = self._files.follow(node["requestBody"], uri + pointer("requestBody"))
            content = request.get("content", {})
            if JSON in content and "schema" in content[JSON]:
                schema = uri + pointer("content", JSON, "schema")
                self._validate(schema, json_body, f"{method} {url_path} ({operation.operation_id}) sent")
        return operation

    def response_examples(self) -> Iterator[tuple[Operation, int, Any]]:
        """Every JSON example of an answer, with what it refers to put in."""
        for operation in self._operations:
            node, uri = self._operation_node(operation)
            for status, response in node["responses"].items():
                found, found_uri = self._files.follow(response, uri + pointer("responses", status))
                media = found.get("content", {}).get(JSON, {})
                media_uri = found_uri + pointer("content", JSON)
                for name, example in media.get("examples", {}).items():
                    example, example_uri = self._files.follow(example, media_uri + pointer("examples", name))
                    if "value" in example:
                        yield operation, int(status), self._expanded(example["value"], example_uri)

    def _expanded(self, node: Any, uri: str) -> Any:
        """An example: the target of a `$ref` in it is merged under the keys beside it."""
        if isinstance(node, list):
            return [self._expanded(item, uri) for item in node]
        if not isinstance(node, dict):
            return node
        own = {key: self._expanded(value, uri) for key, value in node.items() if key != "$ref"}
        if "$ref" not in node:
            return own
        target_uri = urljoin(uri, node["$ref"])
        expanded = self._expanded(self._files.at(target_uri), target_uri)
        return {**expanded, **own} if isinstance(expanded, dict) else expanded

    def _read_operations(self) -> Iterator[Operation]:
        with (self._directory / "endpoints.tsv").open(encoding="utf-8", newline="") as table:
            for row in csv.DictReader(table, delimiter="\t"):
                yield Operation(
                    api=row["api"],
                    method=row["method"],
                    path=row["path"],
                    operation_id=row["operationId"],
                    auth=row["auth"],
                    deprecated=row["deprecated"] == "yes",
                    file=row["file"],
                )

    def _told_apart(self, found: list[Operation], query: str, body: Any) -> Operation:
        """Two paths of the specification are there twice; what is sent tells which is meant."""
        by_id = {operation.operation_id: operation for operation in found}
        if "peekEvents" in by_id and "getEvents" in by_id:
            return by_id["peekEvents" if "room_id=" in query else "getEvents"]
        if "inviteBy3PID" in by_id and "inviteUser" in by_id:
            by_address = isinstance(body, dict) and "id_server" in body
            return by_id["inviteBy3PID" if by_address else "inviteUser"]
        raise LookupError(f"More than one operation fits: {sorted(by_id)}")

    def _expect_operation(self, method: str, url_path: str, body: Any) -> Operation:
        operation = self.find_operation(method, url_path, body=body)
        if operation is None:
            raise SpecificationViolation(f"The specification has no operation {method} {url_path}.")
        return operation

    def _operation_node(self, operation: Operation) -> tuple[Any, str]:
        uri = self._files.uri(operation.file)
        document = self._files.load(uri)
        base = document["servers"][0]["variables"]["basePath"]["default"]
        for path, item in document["paths"].items():
            node = item.get(operation.method.lower())
            same_path = base + path.strip() == operation.path
            if node is not None and same_path and node["operationId"] == operation.operation_id:
                return node, uri + "#" + pointer("paths", path, operation.method.lower())
        raise LookupError(f"{operation.file} has no {operation.operation_id}.")

    def _response_schema(
        self, operation: Operation, status: int, content_type: str, title: str
    ) -> str | None:
        """The URI of the schema to obey. None: the specification says nothing about this body."""
        node, uri = self._operation_node(operation)
        responses = node["responses"]
        if str(status) not in responses:
            if 400 <= status < 600:
                # Any endpoint may give the errors of the common rules.
                return self._files.uri(STANDARD_ERROR)
            raise SpecificationViolation(f"{title}, but may answer {', '.join(sorted(responses))}.")
        response, uri = self._files.follow(responses[str(status)], uri + pointer("responses", str(status)))
        content = response.get("content", {})
        media_type = content_type.partition(";")[0].strip().lower()
        if JSON in content and (media_type == JSON or not self._allows(content, media_type)):
            if media_type != JSON:
                raise SpecificationViolation(f"{title} with the content type {content_type!r}, not JSON.")
            return uri + pointer("content", JSON, "schema") if "schema" in content[JSON] else None
        return None

    @staticmethod
    def _allows(content: Mapping[str, Any], media_type: str) -> bool:
        kind = media_type.partition("/")[0] + "/*"
        return any(allowed in content for allowed in (media_type, kind, "*/*"))

    def _validate(self, schema_uri: str, body: Any, title: str) -> None:
        if schema_uri not in self._validators:
            schema = {"$ref": schema_uri}
            self._validators[schema_uri] = Draft202012Validator(schema, registry=self._files.registry)
        errors = sorted(self._validators[schema_uri].iter_errors(body), key=lambda error: error.json_path)
        if errors:
            lines = [line for error in errors[:SHOWN_ERRORS] for line in described(error)]
            raise SpecificationViolation(
                "\n  ".join([title + ", which the specification does not allow:", *lines])
            )


@functools.cache
def specification() -> Specification:
    """The one of this process: compiling it for each test would take longer than the tests."""
    return Specification(specification_directory())
