"""Who may import whom: the table in docs/developers/architecture.md, checked on the source itself."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("synapse_like_config", "storage", "federation", "popcube_server")
# What counts as Twisted: it, and what is built on it.
TWISTED = ("twisted", "treq", "zope", "uvloop")


@dataclass(frozen=True)
class Layer:
    """Modules that begin with `prefix` may import ours that begin with one of `ours`, and Twisted's `twisted`."""

    prefix: str
    ours: tuple[str, ...]
    twisted: tuple[str, ...]


EVERYTHING = PACKAGES
ALL_TWISTED = TWISTED
NO_TWISTED = ()
# The deferred's own plumbing, clocks and interfaces: neither a reactor nor a web server.
NO_WEB_NO_REACTOR = (
    "twisted.internet.defer",
    "twisted.internet.interfaces",
    "twisted.internet.task",
    "twisted.python",
)

# The longest prefix that fits decides.
LAYERS = (
    Layer("synapse_like_config.lazy_dataclasses", (), NO_TWISTED),
    Layer("synapse_like_config", ("synapse_like_config",), NO_TWISTED),
    Layer("storage", ("storage", "synapse_like_config"), NO_TWISTED),
    Layer("storage.database", ("storage", "synapse_like_config"), ALL_TWISTED),
    Layer("storage.engines", ("storage", "synapse_like_config"), ALL_TWISTED),
    Layer("federation.room_dag", ("federation.room_dag",), NO_TWISTED),
    Layer("federation", ("federation", "storage", "synapse_like_config"), ALL_TWISTED),
    Layer(
        "popcube_server.services",
        ("popcube_server.services", "federation", "storage", "synapse_like_config"),
        NO_WEB_NO_REACTOR,
    ),
    Layer(
        "popcube_server.rest",
        ("popcube_server.rest", "popcube_server.services", "federation.room_dag"),
        NO_TWISTED,
    ),
    Layer(
        "popcube_server.rest.front_door",
        ("popcube_server.rest", "popcube_server.services", "federation.room_dag"),
        ALL_TWISTED,
    ),
    Layer("popcube_server", EVERYTHING, ALL_TWISTED),
)
# A tool that knows nothing of what it is used for.
FOR_EVERYBODY = ("synapse_like_config.lazy_dataclasses",)
# Of the top of popcube_server: what is small, depends on nothing of ours and is of use to every layer below.
SHARED_BY_POPCUBE_SERVER = (
    "popcube_server.metrics",
    "popcube_server.request_context",
    "popcube_server.version",
)


@dataclass(frozen=True)
class Import:
    """One import statement's target, as far as the source tells: a module, or a name in a module."""

    target: str
    line: int


@dataclass(frozen=True)
class Module:
    """A module of ours, parsed."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def place(self) -> str:
        return str(self.path.relative_to(CHECKOUT))


def find_modules(packages: Sequence[str] = PACKAGES) -> list[Module]:
    modules = []
    for package in packages:
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            parts = path.relative_to(CHECKOUT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            modules.append(Module(name, path, ast.parse(path.read_text("utf-8"), str(path))))
    return modules


def imports_of(tree: ast.AST) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", node.lineno)


def begins_with(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def layer_of(name: str) -> Layer:
    fitting = [layer for layer in LAYERS if begins_with(name, (layer.prefix,))]
    return max(fitting, key=lambda layer: len(layer.prefix))


def is_allowed(importer: str, target: str) -> bool:
    layer = layer_of(importer)
    if begins_with(target, PACKAGES):
        if begins_with(target, FOR_EVERYBODY):
            return True
        if begins_with(importer, ("popcube_server",)) and begins_with(target, SHARED_BY_POPCUBE_SERVER):
            return True
        return begins_with(target, layer.ours)
    if begins_with(target, TWISTED):
        return begins_with(target, layer.twisted)
    return True


def function_bodies(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """The names along some cycle, the first one again at the end; empty if there is none."""
    finished: set[str] = set()
    for start in graph:
        trail: list[str] = []
        # Each entry: a module, and its imports that are still to be looked at.
        stack: list[tuple[str, Iterator[str]]] = []
        if start not in finished:
            trail.append(start)
            stack.append((start, iter(graph[start])))
        while stack:
            name, remaining = stack[-1]
            following = next(remaining, None)
            if following is None:
                finished.add(name)
                stack.pop()
                trail.pop()
            elif following in trail:
                return [*trail[trail.index(following) :], following]
            elif following not in finished:
                trail.append(following)
                stack.append((following, iter(graph[following])))
    return []


class LayersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.modules = find_modules()

    def assert_none(self, complaints: list[str]) -> None:
        self.assertEqual([], complaints, "\n" + "\n".join(complaints))

    def test_imports_run_only_downwards(self) -> None:
        self.assert_none(
            [
                f"{module.place}:{one.line} imports {one.target}"
                for module in self.modules
                for one in imports_of(module.tree)
                if not is_allowed(module.name, one.target)
            ]
        )

    def test_no_module_imports_the_reactor(self) -> None:
        # Importing it installs it: only the process itself may decide which one and when.
        self.assert_none(
            [
                f"{module.place}:{one.line}"
                for module in self.modules
                for one in imports_of(module.tree)
                if begins_with(one.target, ("twisted.internet.reactor",))
                and module.name != "popcube_server.app"
            ]
        )

    def test_no_import_stands_in_a_function(self) -> None:
        self.assert_none(
            [
                f"{module.place}:{one.line} imports {one.target}"
                for module in self.modules
                for body in function_bodies(module.tree)
                for one in imports_of(body)
            ]
        )

    def test_imports_are_absolute(self) -> None:
        self.assert_none(
            [
                f"{module.place}:{node.lineno}"
                for module in self.modules
                for node in ast.walk(module.tree)
                if isinstance(node, ast.ImportFrom) and node.level > 0
            ]
        )

    def test_nothing_is_imported_for_type_checking_only(self) -> None:
        self.assert_none(
            [
                f"{module.place}:{one.line}"
                for module in self.modules
                for one in imports_of(module.tree)
                if one.target == "typing.TYPE_CHECKING"
            ]
        )

    def test_there_is_no_import_cycle(self) -> None:
        names = {module.name for module in self.modules}
        graph: dict[str, set[str]] = {}
        for module in self.modules:
            targets = {one.target for one in imports_of(module.tree)}
            # `from package.module import name` reaches package.module; `from package import module` the module.
            reached = {target if target in names else target.rpartition(".")[0] for target in targets}
            graph[module.name] = (reached & names) - {module.name}
        self.assertEqual([], find_cycle(graph))

    def test_init_files_hold_a_docstring_only(self) -> None:
        self.assert_none(
            [
                module.place
                for module in find_modules((*PACKAGES, "tests"))
                if module.path.name == "__init__.py"
                and not (len(module.tree.body) == 1 and ast.get_docstring(module.tree))
                # In the folders of the tests there is nothing to say.
                and not (module.name.startswith("tests") and not module.tree.body)
            ]
        )


class CheckerTests(SynchronousTestCase):
    """The checker itself: what it must refuse, beside what it must allow."""

    def test_storage_may_read_configuration_but_not_rooms(self) -> None:
        self.assertTrue(is_allowed("storage.events", "synapse_like_config.database.DatabaseConfig"))
        self.assertFalse(is_allowed("storage.events", "federation.room_dag.event.Event"))

    def test_only_the_edge_of_storage_knows_twisted(self) -> None:
        self.assertTrue(is_allowed("storage.database", "twisted.internet.threads.deferToThreadPool"))
        self.assertFalse(is_allowed("storage.events", "twisted.internet.defer.Deferred"))

    def test_the_room_dag_knows_nothing_of_ours(self) -> None:
        self.assertTrue(is_allowed("federation.room_dag.event", "federation.room_dag.hashes.content_hash"))
        self.assertFalse(is_allowed("federation.room_dag.event", "federation.rooms.room.Room"))
        self.assertFalse(is_allowed("federation.room_dag.event", "storage.events.EventRow"))

    def test_an_endpoint_does_not_reach_past_its_service(self) -> None:
        self.assertTrue(is_allowed("popcube_server.rest.client.login", "popcube_server.services.login.Login"))
        self.assertFalse(is_allowed("popcube_server.rest.client.login", "storage.accounts.AccountRepository"))
        self.assertFalse(is_allowed("popcube_server.rest.client.login", "twisted.web.http.Request"))

    def test_a_service_knows_neither_web_nor_reactor(self) -> None:
        self.assertTrue(is_allowed("popcube_server.services.login", "twisted.internet.defer.Deferred"))
        self.assertFalse(is_allowed("popcube_server.services.login", "twisted.web.server.Site"))
        self.assertFalse(is_allowed("popcube_server.services.login", "twisted.internet.reactor"))
        self.assertFalse(is_allowed("popcube_server.services.login", "popcube_server.rest.errors.as_answer"))

    def test_a_cycle_is_found_and_named(self) -> None:
        self.assertEqual(["b", "c", "b"], find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}))
        self.assertEqual([], find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}))
