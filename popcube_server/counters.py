"""What is counted, in plain numbers; `exposition.py` writes them down for who asks.

Used from the reactor's thread alone: nothing is locked.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Any, Generic, Protocol, TypeVar

Label = tuple[str, str]
Number = tuple[str, Sequence[Label], float]


class Sample(Protocol):
    """The numbers of a family with one set of labels."""

    def read(self) -> Iterator[Number]:
        """What follows the family's name, labels beside its own, the number."""


S = TypeVar("S", bound=Sample)


class Registry:
    """What is shown together. A name is there once."""

    def __init__(self) -> None:
        self._families: dict[str, Family[Any]] = {}

    def add(self, family: "Family[Any]") -> None:
        if family.name in self._families:
            raise ValueError(f"{family.name} is there already")
        self._families[family.name] = family

    @property
    def families(self) -> Iterable["Family[Any]"]:
        return self._families.values()


class Family(Generic[S]):
    """Numbers of one name: one for each set of values of its labels that was asked for."""

    def __init__(
        self,
        kind: str,
        name: str,
        meaning: str,
        label_names: Sequence[str],
        registry: Registry,
        make: Callable[[], S],
    ) -> None:
        self.kind = kind
        self.name = name
        self.meaning = meaning
        self._label_names = tuple(label_names)
        self._make = make
        self._samples: dict[tuple[str, ...], S] = {}
        if not label_names:
            self.labels()
        registry.add(self)

    def labels(self, *values: str) -> S:
        """In the order of their names."""
        sample = self._samples.get(values)
        if sample is None:
            if len(values) != len(self._label_names):
                raise ValueError(f"{self.name} has the labels {self._label_names}")
            sample = self._samples[values] = self._make()
        return sample

    def remove(self, *values: str) -> None:
        self._samples.pop(values, None)

    def read(self) -> Iterator[Number]:
        """As `Sample.read`, with all labels."""
        for values, sample in self._samples.items():
            own = tuple(zip(self._label_names, values, strict=True))
            for suffix, more, number in sample.read():
                yield suffix, (*own, *more), number


class Count:
    """It only grows."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        self._value += amount

    def read(self) -> Iterator[Number]:
        yield "", (), self._value


class Level:
    """It is set, or asked for when it is read."""

    __slots__ = ("_ask",)

    def __init__(self) -> None:
        self.set(0.0)

    def set(self, value: float) -> None:
        self._ask: Callable[[], float] = lambda: value

    def set_function(self, ask: Callable[[], float]) -> None:
        self._ask = ask

    def read(self) -> Iterator[Number]:
        yield "", (), self._ask()


class Distribution:
    """How many of what was observed are at most as large as each bound, which grow."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> Iterator[Number]:
        count = 0
        for bound, more in zip((*self._bounds, inf), self._counts, strict=True):
            count += more
            yield "_bucket", (("le", "+Inf" if bound == inf else repr(float(bound))),), count
        yield "_count", (), count
        yield "_sum", (), self._sum


class Counter(Family[Count]):
    """By the format's custom its name ends with `_total`."""

    def __init__(
        self, name: str, meaning: str, label_names: Sequence[str] = (), *, registry: Registry
    ) -> None:
        super().__init__("counter", name, meaning, label_names, registry, Count)

    def inc(self, amount: float = 1.0) -> None:
        """Of a counter without labels."""
        self.labels().inc(amount)


class Gauge(Family[Level]):
    def __init__(
        self, name: str, meaning: str, label_names: Sequence[str] = (), *, registry: Registry
    ) -> None:
        super().__init__("gauge", name, meaning, label_names, registry, Level)

    def set(self, value: float) -> None:
        """Of a gauge without labels."""
        self.labels().set(value)

    def set_function(self, ask: Callable[[], float]) -> None:
        """Of a gauge without labels."""
        self.labels().set_function(ask)


class Histogram(Family[Distribution]):
    def __init__(
        self,
        name: str,
        meaning: str,
        label_names: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: Registry,
    ) -> None:
        make = lambda: Distribution(buckets)  # noqa: E731
        super().__init__("histogram", name, meaning, label_names, registry, make)

    def observe(self, value: float) -> None:
        """Of a histogram without labels."""
        self.labels().observe(value)
