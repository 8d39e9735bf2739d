"""From a path to the endpoint that answers it: a tree of path segments, built once from the servlets."""

from collections.abc import Iterable, Mapping
from dataclasses import field
from urllib.parse import unquote_to_bytes

from popcube_server.rest.endpoint import Handler, Mark, marked_methods
from popcube_server.services.errors import InvalidParam, NotFound
from synapse_like_config.lazy_dataclasses import dataclass

_CURRENT = "/_matrix/client/v3/"
_OLD = "/_matrix/client/r0/"
_MEDIA_CURRENT = "/_matrix/media/v3/"
# COMPAT: clients from before v1.1 of the specification call media under r0, older ones under v1.
_MEDIA_OLD = ("/_matrix/media/r0/", "/_matrix/media/v1/")


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint: its mark, the method to call, and its name in metrics and logs."""

    mark: Mark
    handler: Handler
    name: str
    variables: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    variable: "_Node | None" = None
    routes: dict[str, Route] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """What a path leads to. `route` is None if the path exists but not for this method."""

    route: Route | None
    path: Mapping[str, str]
    methods: tuple[str, ...]


class Router:
    """All endpoints of one organisation."""

    def __init__(self, servlets: Iterable[object]) -> None:
        self._root = _Node()
        for servlet in servlets:
            for mark, handler in marked_methods(servlet):
                for path in _spellings(mark.path):
                    self._add(path, mark, handler)

    def routes(self) -> list[Route]:
        """Every endpoint, once for each spelling of its path."""
        found: list[Route] = []
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            found.extend(node.routes.values())
            waiting.extend(node.literals.values())
            if node.variable is not None:
                waiting.append(node.variable)
        return found

    def _add(self, path: str, mark: Mark, handler: Handler) -> None:
        node = self._root
        variables = []
        for segment in path.split("/")[1:]:
            if segment.startswith("{"):
                variables.append(segment[1:-1])
                if node.variable is None:
                    node.variable = _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(segment, _Node())
        if mark.method in node.routes:
            raise ValueError(f"two endpoints answer {mark.method} {path}")
        node.routes[mark.method] = Route(mark, handler, f"{mark.method} {mark.path}", tuple(variables))

    def find(self, method: str, raw_path: bytes) -> Match | None:
        """The endpoint for a path as it came in the request line, or None if there is no such path.

        Segments are separated before they are decoded: an encoded slash belongs to a segment. Raises `InvalidParam`
        for a segment that is not UTF-8, `NotFound` for an identifier that cannot be one.
        """
        values: list[str] = []
        node = _find(self._root, [_decode(segment) for segment in raw_path.split(b"/")[1:]], 0, values)
        if node is None:
            return None
        route = node.routes.get(method)
        variables = dict(zip(route.variables, values, strict=True)) if route is not None else {}
        # No identifier has it, and a database may not be able to look for it.
        if any("\x00" in value for name, value in variables.items() if name.endswith("_id")):
            raise NotFound("An identifier in the path has a character that none has.")
        return Match(route, variables, tuple(node.routes))


def _find(node: _Node, segments: list[str], at: int, values: list[str]) -> _Node | None:
    # A literal wins over a variable; only where the literal leads nowhere is the variable tried.
    if at == len(segments):
        return node if node.routes else None
    literal = node.literals.get(segments[at])
    if literal is not None:
        found = _find(literal, segments, at + 1, values)
        if found is not None:
            return found
    if node.variable is None:
        return None
    values.append(segments[at])
    found = _find(node.variable, segments, at + 1, values)
    if found is None:
        values.pop()
    return found


def _decode(segment: bytes) -> str:
    try:
        return (unquote_to_bytes(segment) if b"%" in segment else segment).decode()
    except UnicodeDecodeError:
        raise InvalidParam("The path is not UTF-8.") from None


def _spellings(path: str) -> Iterable[str]:
    yield path
    if path.startswith(_CURRENT):
        yield _OLD + path.removeprefix(_CURRENT)
    if path.startswith(_MEDIA_CURRENT):
        for old in _MEDIA_OLD:
            yield old + path.removeprefix(_MEDIA_CURRENT)
