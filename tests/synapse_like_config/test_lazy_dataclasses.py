"""Dataclasses whose methods are made when they are needed behave as those of the standard library."""

import copy
import dataclasses
import pickle
import pprint
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Generic, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from synapse_like_config.lazy_dataclasses import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """A value."""

    kind: ClassVar[str] = "point"
    x: int
    y: int = 2
    tags: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    secret: str = dataclasses.field(default="hidden", repr=False)


@dataclass(frozen=True, slots=True)
class Point3(Point):
    """A value with one field more, and another default for an old one."""

    y: int = 5
    z: int = 3


@dataclass(slots=True)
class Bag:
    """Something that changes."""

    content: list[int] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class WithDict:
    """A class without slots."""

    name: str = "nobody"
    names: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Nothing:
    """No field at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Unequal:
    """Compared by identity."""

    x: int


@dataclass(frozen=True, slots=True)
class Boxed(Generic[T]):
    """Generic."""

    value: T


@dataclass(frozen=True, slots=True)
class Node:
    """May hold itself, by way of the list."""

    children: list[object]


@dataclasses.dataclass(frozen=True)
class OfTheStandardLibrary(Point):
    """A dataclass of the standard library over one of ours."""

    more: int = 4


class Loud(Point):
    """Plain inheritance."""

    def __str__(self) -> str:
        return f"({self.x}!)"


@dataclass(frozen=True)
class Checked:
    """Looks at itself when it has been made."""

    seen: ClassVar[list[int]] = []
    x: int

    def __post_init__(self) -> None:
        self.seen.append(self.x)


class DecoratorTests(SynchronousTestCase):
    def test_fields_are_given_by_place_by_name_and_by_default(self) -> None:
        point = Point(1, tags=("a",))
        self.assertEqual((1, 2, ("a",), "hidden"), (point.x, point.y, point.tags, point.secret))

    def test_what_is_missing_or_unknown_is_refused_at_the_first_instance_and_later(self) -> None:
        @dataclass(frozen=True, slots=True)
        class Fresh:
            x: int

        for _ in range(2):
            self.assertRaises(TypeError, Fresh)
            self.assertRaises(TypeError, Fresh, 1, 2)
            self.assertRaises(TypeError, Fresh, y=1)
        self.assertEqual(1, Fresh(1).x)

    def test_equal_values_are_equal_and_hash_alike(self) -> None:
        self.assertEqual(Point(1, tags=("a",)), Point(1, tags=("b",)))
        self.assertNotEqual(Point(1), Point(1, secret="another"))
        self.assertEqual({Point(1)}, {Point(1), Point(1)})
        self.assertNotEqual(Point(1), (1, 2, (), "hidden"))
        self.assertEqual({Nothing()}, {Nothing(), Nothing()})
        self.assertNotEqual(Nothing(), 1)

    def test_another_class_is_never_equal(self) -> None:
        self.assertNotEqual(Point(1), Point3(1, 2))
        self.assertNotEqual(Point(1), Loud(1))
        self.assertEqual(Loud(1), Loud(1))

    def test_what_changes_has_no_hash(self) -> None:
        self.assertEqual(Bag([1]), Bag([1]))
        self.assertRaises(TypeError, hash, Bag())

    def test_without_eq_only_the_same_is_equal(self) -> None:
        one = Unequal(1)
        self.assertEqual({one}, {one, one})
        self.assertNotEqual(one, Unequal(1))

    def test_methods_that_are_written_out_stay(self) -> None:
        @dataclass(frozen=True, slots=True)
        class Own:
            x: int

            def __hash__(self) -> int:
                return 5

            def __repr__(self) -> str:
                return "own"

        self.assertEqual((5, "own"), (hash(Own(1)), repr(Own(1))))
        self.assertNotEqual(Own(1), Own(2))

    def test_threads_may_use_a_class_for_the_first_time_together(self) -> None:
        for _ in range(50):

            @dataclass(frozen=True, slots=True)
            class Fresh:
                x: int

            with ThreadPoolExecutor(4) as pool:
                self.assertEqual({Fresh(1)}, set(pool.map(Fresh, [1] * 8)))

    def test_a_method_that_another_thread_has_just_replaced_leads_to_the_new_one(self) -> None:
        @dataclass(frozen=True, slots=True)
        class Fresh:
            x: int

        first_init, first_eq, first_hash = Fresh.__init__, Fresh.__eq__, Fresh.__hash__
        one, other = Fresh(1), Fresh(2)
        self.assertNotEqual(hash(one), hash(other))
        self.assertNotEqual(one, other)
        first_init(other, 1)
        self.assertTrue(first_eq(one, other))
        self.assertEqual(first_hash(one), hash(other))

    def test_each_instance_has_a_default_of_its_own_from_a_factory(self) -> None:
        one, other = Bag(), Bag()
        one.content.append(1)
        self.assertEqual([], other.content)
        self.assertIsNot(WithDict().names, WithDict().names)
        self.assertEqual("nobody", WithDict.name)

    def test_it_is_shown_without_what_must_not_be(self) -> None:
        self.assertEqual("Point(x=1, y=2, tags=())", repr(Point(1)))
        self.assertEqual("Nothing()", repr(Nothing()))
        children: list[object] = []
        children.append(Node(children))
        self.assertEqual("Node(children=[...])", repr(children[0]))

    def test_it_can_be_printed_over_several_lines(self) -> None:
        point = Point(1, tags=("a tag",) * 20)
        # As a failed comparison in a test is shown.
        self.assertEqual(pprint.pformat([point]), f"[{point!r}]")

    def test_there_are_slots_and_nothing_else(self) -> None:
        self.assertFalse(hasattr(Point(1), "__dict__"))
        self.assertFalse(hasattr(Point3(1), "__dict__"))
        self.assertEqual(("z",), Point3.__dict__["__slots__"])
        self.assertEqual("point", Point(1).kind)

    def test_a_subclass_adds_fields_and_changes_defaults(self) -> None:
        self.assertEqual("Point3(x=1, y=5, tags=(), z=3)", repr(Point3(1)))
        self.assertEqual(Point3(1, 2, (), "hidden", 9), Point3(x=1, y=2, z=9))
        self.assertEqual(2, Point(1).y)

    def test_a_subclass_may_be_used_before_its_base(self) -> None:
        @dataclass(frozen=True, slots=True)
        class Base:
            x: int

        @dataclass(frozen=True, slots=True)
        class Derived(Base):
            y: int

        self.assertEqual((1, 2), (Derived(1, 2).x, Derived(1, 2).y))
        self.assertEqual(1, Base(1).x)
        self.assertNotEqual(Derived(1, 2), Derived(1, 3))

    def test_one_of_the_standard_library_may_inherit(self) -> None:
        one = OfTheStandardLibrary(1)
        self.assertEqual((1, 2, 4), (one.x, one.y, one.more))

    def test_the_functions_of_the_standard_library_work(self) -> None:
        self.assertEqual(["x", "y", "tags", "secret"], [one.name for one in dataclasses.fields(Point)])
        self.assertEqual(Point(1, 7), dataclasses.replace(Point(1), y=7))
        self.assertEqual(
            {"value": {"x": 1, "y": 2, "tags": (), "secret": "hidden"}}, dataclasses.asdict(Boxed(Point(1)))
        )
        self.assertTrue(dataclasses.is_dataclass(Point3))

    def test_it_can_be_matched_copied_and_sent(self) -> None:
        match Point(1, 9):
            case Point(x, y):
                self.assertEqual((1, 9), (x, y))
        self.assertEqual(Point(1), copy.deepcopy(Point(1)))
        self.assertEqual(Point(1), pickle.loads(pickle.dumps(Point(1))))

    def test_an_instance_may_look_at_itself_when_it_is_made(self) -> None:
        Checked(5)
        Checked(6)
        self.assertEqual([5, 6], Checked.seen)
