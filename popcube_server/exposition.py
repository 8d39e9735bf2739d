"""Numbers with names and labels, in the text format that Prometheus reads (version 0.0.4).

Used from the reactor's thread. Prometheus' own library does the same with locks, an HTTP server and a client: 1 MiB.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

Labels = tuple[tuple[str, str], ...]


class Child(Protocol):
    """The numbers of one set of labels."""

    def samples(self) -> Iterator[tuple[str, Labels, float]]:
        """(what follows the name, more labels, value)."""


C = TypeVar("C", bound=Child)


class Family(Protocol):
    """A metric with all its sets of labels."""

    name: str

    def lines(self) -> Iterator[str]: ...

    def samples(self) -> Iterator[tuple[str, Labels, float]]:
        """(whole name, labels, value)."""


class Registry:
    """The metrics of one organisation."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def add(self, family: Family) -> None:
        """Raises ValueError if the name is taken."""
        if family.name in self._families:
            raise ValueError(f"there is a metric {family.name} already")
        self._families[family.name] = family

    def get_sample_value(self, name: str) -> float | None:
        """The number with this name and no labels."""
        for family in self._families.values():
            for sample, labels, value in family.samples():
                if sample == name and not labels:
                    return value
        return None

    def render(self) -> bytes:
        lines = [line for family in self._families.values() for line in family.lines()]
        return ("\n".join(lines) + "\n").encode() if lines else b""


class _Family(Generic[C]):
    """One child for each set of labels; the one without labels is there from the beginning."""

    def __init__(
        self, kind: str, name: str, meaning: str, label_names: Sequence[str], make: Callable[[], C]
    ) -> None:
        self.name = name
        self._kind = kind
        self._meaning = meaning
        self._label_names = tuple(label_names)
        self._make = make
        self._children: dict[tuple[str, ...], C] = {}
        if not self._label_names:
            self._children[()] = make()

    def labels(self, *values: str) -> C:
        """The numbers of these labels, in the order of their names. To be kept by those who count often."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._label_names):
                raise ValueError(f"{self.name} has {len(self._label_names)} labels")
            child = self._children[values] = self._make()
        return child

    def remove(self, *values: str) -> None:
        """Tell nothing of these labels any more. Raises KeyError if nothing was told."""
        del self._children[values]

    def samples(self) -> Iterator[tuple[str, Labels, float]]:
        for values, child in list(self._children.items()):
            own = tuple(zip(self._label_names, values, strict=True))
            for suffix, more, value in child.samples():
                yield self.name + suffix, own + more, value

    def lines(self) -> Iterator[str]:
        meaning = self._meaning.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {self.name} {meaning}"
        yield f"# TYPE {self.name} {self._kind}"
        for name, labels, value in self.samples():
            text = ",".join(f'{label}="{_escaped(given)}"' for label, given in sorted(labels))
            yield f"{name}{{{text}}} {_number(value)}" if text else f"{name} {_number(value)}"


class Count:
    """Only grows."""

    def __init__(self) -> None:
        self._value = 0.0

    def inc(self, amount: float = 1) -> None:
        self._value += amount

    def samples(self) -> Iterator[tuple[str, Labels, float]]:
        yield "", (), self._value


class Level:
    """Goes up and down: set, or asked for when it is read."""

    def __init__(self) -> None:
        self._read: Callable[[], float] = float

    def set(self, value: float) -> None:
        self._read = lambda: value

    def set_function(self, read: Callable[[], float]) -> None:
        self._read = read

    def samples(self) -> Iterator[tuple[str, Labels, float]]:
        yield "", (), float(self._read())


class Distribution:
    """How many of the observed numbers are at most as large as each bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*map(float, bounds), float("inf"))
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self) -> Iterator[tuple[str, Labels, float]]:
        count = 0
        for bound, within in zip(self._bounds, self._counts, strict=True):
            count += within
            yield "_bucket", (("le", _number(bound)),), count
        yield "_count", (), count
        yield "_sum", (), self._sum


class Counter(_Family[Count]):
    """Its name ends in `_total`."""

    def __init__(
        self, name: str, meaning: str, label_names: Sequence[str] = (), *, registry: Registry
    ) -> None:
        super().__init__("counter", name, meaning, label_names, Count)
        registry.add(self)

    def inc(self, amount: float = 1) -> None:
        """Of a counter without labels."""
        self._children[()].inc(amount)


class Gauge(_Family[Level]):
    def __init__(
        self, name: str, meaning: str, label_names: Sequence[str] = (), *, registry: Registry
    ) -> None:
        super().__init__("gauge", name, meaning, label_names, Level)
        registry.add(self)

    def set(self, value: float) -> None:
        """Of a gauge without labels; so does the next."""
        self._children[()].set(value)

    def set_function(self, read: Callable[[], float]) -> None:
        self._children[()].set_function(read)


class Histogram(_Family[Distribution]):
    def __init__(
        self,
        name: str,
        meaning: str,
        label_names: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: Registry,
    ) -> None:
        """`buckets`: the bounds, in ascending order; infinity is added."""
        super().__init__("histogram", name, meaning, label_names, lambda: Distribution(buckets))
        registry.add(self)

    def observe(self, value: float) -> None:
        """Of a histogram without labels."""
        self._children[()].observe(value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    if value == float("-inf"):
        return "-Inf"
    return "NaN" if value != value else repr(float(value))
