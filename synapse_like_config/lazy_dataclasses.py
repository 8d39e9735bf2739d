"""`dataclass`, as of the standard library, for a program with hundreds of them, most of which one run never makes.

The standard library writes, compiles and keeps six methods for each frozen class when its module is loaded: a third
of the time that this server took to start, and a tenth of its idle memory. Here each method is compiled when it is
first called; until then all classes share one that does this.

What differs: that an instance is frozen is checked by mypy, which knows this decorator as it does the other one, and
not once more for each assignment at run time; instances are made faster for it. There is no `order`. `field`,
`fields`, `replace` and `asdict` of the standard library work, and so do subclasses of either kind.
"""

import dataclasses
import inspect
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar, TypeVar, cast, dataclass_transform, get_origin

T = TypeVar("T")

_NO_DEFAULTS: Mapping[str, object] = MappingProxyType({})


@dataclass_transform(field_specifiers=(dataclasses.field,))
def dataclass(*, frozen: bool = False, slots: bool = False, eq: bool = True) -> Callable[[type[T]], type[T]]:
    """Instances compare by their fields if `eq`; if they are frozen, too, they hash by them."""

    def decorate(cls: type[T]) -> type[T]:
        body = dict(cls.__dict__)
        types = _own_types(cls)
        defaults = {name: body[name] for name in types if name in body}
        added: dict[str, Any] = {
            "_own_defaults": defaults or _NO_DEFAULTS,
            "__dataclass_fields__": _FIELDS,
            "__dataclass_params__": _FROZEN if frozen else _NOT_FROZEN,
            "__match_args__": tuple(dict.fromkeys((*_inherited_names(cls), *types))),
        }
        methods: dict[str, Any] = {"__init__": _first_init, "__repr__": _repr}
        if eq:
            methods |= {"__eq__": _first_eq, "__hash__": _first_hash if frozen else None}
        added |= {name: method for name, method in methods.items() if name not in body}
        if slots:
            return cast(type[T], _with_slots(cls, body, types, added))
        _add(cls, defaults, added)
        return cls

    return decorate


def _with_slots(
    cls: type[Any], body: dict[str, Any], types: Mapping[str, object], added: Mapping[str, Any]
) -> type[Any]:
    """The same class once more: slots cannot be added to one that exists."""
    for name in (*types, "__dict__", "__weakref__"):
        body.pop(name, None)
    inherited = {name for base in cls.__mro__[1:] for name in base.__dict__.get("__slots__", ())}
    body["__slots__"] = tuple(name for name in types if name not in inherited)
    body["__qualname__"] = cls.__qualname__
    body.update(added)
    metaclass: Any = type(cls)
    return cast(type[Any], metaclass(cls.__name__, cls.__bases__, body))


def _add(cls: type[Any], defaults: Mapping[str, object], added: Mapping[str, Any]) -> None:
    for name, default in defaults.items():
        # As in the standard library, a plain default is an attribute of the class, too.
        if isinstance(default, dataclasses.Field) and default.default is dataclasses.MISSING:
            delattr(cls, name)
        elif isinstance(default, dataclasses.Field):
            setattr(cls, name, default.default)
    for name, one in added.items():
        setattr(cls, name, one)


def _own_types(cls: type[Any]) -> dict[str, object]:
    """The fields that the body of a class adds."""
    # From Python 3.14 on they are not in the class's dictionary.
    annotations: Mapping[str, object] = inspect.get_annotations(cls)
    return {name: one for name, one in annotations.items() if not _is_class_variable(one)}


def _is_class_variable(annotation: object) -> bool:
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _inherited_names(cls: type[Any]) -> Iterator[str]:
    for base in reversed(cls.__mro__[1:]):
        yield from base.__dict__.get("__match_args__", ())


def _owner(cls: type[Any]) -> Any:
    """The class that was decorated: an instance may be of one that inherits from it and adds no field."""
    return next(base for base in cls.__mro__ if "__dataclass_fields__" in base.__dict__)


class _Fields:
    """`__dataclass_fields__`, where the standard library looks for the fields; they are made when it does."""

    def __get__(self, instance: object, cls: type[Any]) -> dict[str, "dataclasses.Field[Any]"]:
        owner = _owner(cls)
        found: dict[str, dataclasses.Field[Any]] = {}
        for base in reversed(owner.__mro__[1:]):
            if "__dataclass_fields__" in base.__dict__:
                found |= base.__dataclass_fields__
        found |= _make_fields(_own_types(owner), owner.__dict__["_own_defaults"])
        owner.__dataclass_fields__ = found
        return found


def _make_fields(
    types: dict[str, object], defaults: Mapping[str, object]
) -> dict[str, "dataclasses.Field[Any]"]:
    # Only the standard library can make fields that it knows as such: those of a class that has nothing else.
    bare: Any = type("Bare", (), {"__annotations__": types, "__doc__": "Fields only.", **defaults})
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(bare)
    fields: dict[str, dataclasses.Field[Any]] = made.__dataclass_fields__
    return fields


_FIELDS = _Fields()
_FROZEN = SimpleNamespace(frozen=True, repr=True)
_NOT_FROZEN = SimpleNamespace(frozen=False, repr=True)


def _first_init(self: Any, *args: Any, **kwargs: Any) -> None:
    """Stands where `__init__` will be, as the next two do for theirs."""
    _replace("__init__", _first_init, _compile_init, self).__init__(self, *args, **kwargs)


def _first_eq(self: Any, other: Any) -> Any:
    return _replace("__eq__", _first_eq, _compile_eq, self).__eq__(self, other)


def _first_hash(self: Any) -> int:
    made: int = _replace("__hash__", _first_hash, _compile_hash, self).__hash__(self)
    return made


def _replace(
    name: str, method: Callable[..., Any], compile_method: Callable[[Any], Any], instance: object
) -> Any:
    """Put the true method into the class that has this one; the class."""
    for base in type(instance).__mro__:
        if base.__dict__.get(name) is method:
            setattr(base, name, compile_method(base))
            return base
    # Another thread has just done it.
    return _owner(type(instance))


def _compile_eq(owner: Any) -> Callable[..., Any]:
    lines = (
        " if other.__class__ is not self.__class__:",
        "  return NotImplemented",
        f" return {_compared(owner, 'self')} == {_compared(owner, 'other')}",
    )
    return _compile(owner, "__eq__", "self, other", lines, {})


def _compile_hash(owner: Any) -> Callable[..., Any]:
    return _compile(owner, "__hash__", "self", (f" return hash({_compared(owner, 'self')})",), {})


def _compared(owner: Any, name: str) -> str:
    fields = [
        field
        for field, given in _given(owner).items()
        if not isinstance(given, dataclasses.Field) or given.compare
    ]
    return "(" + "".join(f"{name}.{field}, " for field in fields) + ")"


def _given(owner: Any) -> dict[str, object]:
    """By field, what the class gives: a default, what `field` made, or MISSING."""
    found: dict[str, object] = {}
    for base in reversed(owner.__mro__):
        own = base.__dict__
        if "_own_defaults" in own:
            found |= {name: own["_own_defaults"].get(name, dataclasses.MISSING) for name in _own_types(base)}
        elif "__dataclass_fields__" in own:
            found |= own["__dataclass_fields__"]
    return found


def _compile_init(owner: Any) -> Callable[..., None]:
    parameters, lines = [], []
    known: dict[str, object] = {"FACTORY": dataclasses.MISSING}
    for name, given in _given(owner).items():
        value = name
        factory = given.default_factory if isinstance(given, dataclasses.Field) else dataclasses.MISSING
        default = given.default if isinstance(given, dataclasses.Field) else given
        if factory is not dataclasses.MISSING:
            known[f"make_{name}"] = factory
            value = f"make_{name}() if {name} is FACTORY else {name}"
            parameters.append(f"{name}=FACTORY")
        elif default is not dataclasses.MISSING:
            known[f"default_{name}"] = default
            parameters.append(f"{name}=default_{name}")
        else:
            parameters.append(name)
        lines.append(f" self.{name} = {value}")
    if hasattr(owner, "__post_init__"):
        lines.append(" self.__post_init__()")
    return _compile(owner, "__init__", ", ".join(("self", *parameters)), lines or (" pass",), known)


def _compile(
    owner: Any, name: str, parameters: str, lines: Iterable[str], known: dict[str, object]
) -> Callable[..., Any]:
    """A method whose source has in it nothing but names that stand in the source of the class."""
    made: dict[str, Any] = {}
    exec(f"def {name}({parameters}):\n" + "\n".join(lines), known, made)  # noqa: S102
    method: Callable[..., Any] = made[name]
    method.__qualname__ = f"{owner.__qualname__}.{name}"
    method.__module__ = owner.__module__
    return method


@reprlib.recursive_repr()
def _repr(self: Any) -> str:
    shown = [f"{name}={getattr(self, name)!r}" for name, one in self.__dataclass_fields__.items() if one.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"
