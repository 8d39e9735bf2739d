"""Canonical JSON: the specification's examples, and agreement with the reference implementation."""

import enum
import json
import tracemalloc
from typing import Any

import orjson
from canonicaljson import encode_canonical_json
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from federation.room_dag.canonical_json import (
    MAX_INTEGER,
    MIN_INTEGER,
    NotCanonical,
    check_json_depth,
    decode_exact,
    decode_json,
    encode_canonical,
    encode_lenient,
)

# Appendices, "Canonical JSON", examples; the last one of them is in test_zeros_and_large_integers.
LONG_EXAMPLE = (
    '{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",'
    ' "three_pids": [{"medium": "email", "address": "john.doe@example.org"},'
    ' {"medium": "msisdn", "address": "123456789"}]}}}'
)
LONG_RESULT = (
    '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
    '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
    '"success":true}}'
)
EXAMPLES = [
    ("{}", "{}"),
    ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
    ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
    ('{"b":"2","a":"1"}', '{"a":"1","b":"2"}'),
    (LONG_EXAMPLE, LONG_RESULT),
    ('{"a": "日本語"}', '{"a":"日本語"}'),
    ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
    (r'{"a": "\u65E5"}', '{"a":"日"}'),
    ('{"a": null}', '{"a":null}'),
]

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(MIN_INTEGER, MAX_INTEGER) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


class Color(enum.StrEnum):
    RED = "red"


class CanonicalJsonTests(SynchronousTestCase):
    def test_examples_of_the_specification(self) -> None:
        for source, expected in EXAMPLES:
            self.assertEqual(encode_canonical(json.loads(source)), expected.encode())
            self.assertEqual(encode_canonical(orjson.loads(source)), expected.encode())

    def test_zeros_and_large_integers(self) -> None:
        # The example has `-0` and `1e10`, which parsers of Python read as integer zero and as a float.
        self.assertEqual(encode_canonical({"a": -0, "b": 10000000000}), b'{"a":0,"b":10000000000}')

    def test_keys_are_sorted_by_code_point(self) -> None:
        # In UTF-16 the second one would come first.
        self.assertEqual(
            encode_canonical({"\U00010000": 1, "\uffff": 2}), '{"\uffff":2,"\U00010000":1}'.encode()
        )

    def test_only_what_must_be_is_escaped(self) -> None:
        self.assertEqual(
            encode_canonical('\x00\x08\x0c\n\r\t\x1f"\\/\x7f\u2028é'),
            '"\\u0000\\b\\f\\n\\r\\t\\u001f\\"\\\\/\x7f\u2028é"'.encode(),
        )

    def test_limits_of_integers_are_inclusive(self) -> None:
        self.assertEqual(encode_canonical([2**53 - 1, -(2**53) + 1]), b"[9007199254740991,-9007199254740991]")
        for value in (2**53, -(2**53), 2**80):
            self.assertRaises(NotCanonical, encode_canonical, {"a": [value]})

    def test_what_is_not_canonical_is_refused(self) -> None:
        for value in (
            1.0,
            float("nan"),
            float("inf"),
            {1: 2},
            {"a": b"x"},
            "\ud800",
            {"\udfff": 1},
            {1, 2},
            Color.RED,
            {Color.RED: 1},
        ):
            self.assertRaises(NotCanonical, encode_canonical, value)
            self.assertRaises(NotCanonical, encode_canonical, [value])

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(VALUES)
    def test_agrees_with_canonicaljson(self, value: Any) -> None:
        self.assertEqual(encode_canonical(value), encode_canonical_json(value))
        self.assertEqual(encode_lenient(value), encode_canonical_json(value))

    def test_deep_nesting_is_encoded_without_recursion_errors(self) -> None:
        deep: Any = []
        for _ in range(400):
            deep = [deep]
        self.assertEqual(encode_canonical(deep), b"[" * 401 + b"]" * 401)
        for _ in range(100_000):
            deep = [deep]
        self.assertRaises(NotCanonical, encode_canonical, deep)


class LenientJsonTests(SynchronousTestCase):
    def test_big_integers_and_floats_pass(self) -> None:
        self.assertEqual(encode_lenient({"b": 2**70, "a": 1.5}), b'{"a":1.5,"b":1180591620717411303424}')

    def test_big_integers_survive_exact_decoding(self) -> None:
        data = b'{"a":1180591620717411303424,"b":0.1}'
        for decode in (decode_exact, decode_json):
            self.assertEqual(encode_lenient(decode(data)), data)
        nested = b'{"a":[{"b":[1180591620717411303424]}],"c":"x"}'
        self.assertEqual(encode_lenient(decode_json(nested)), nested)

    def test_what_is_not_json_is_refused(self) -> None:
        for value in (float("nan"), float("-inf"), {1: 1.5}, "\ud800", {"a": {2, 3}}):
            self.assertRaises(NotCanonical, encode_lenient, value)
        self.assertRaises(ValueError, decode_exact, b"[NaN]")
        self.assertRaises(ValueError, decode_exact, b"[" * 100_000)
        for data in (b"[NaN]", b"[" * 100_000, b"\xff", b"", b"{"):
            self.assertRaises(ValueError, decode_json, data)


class JsonDepthTests(SynchronousTestCase):
    def test_depth_counts_containers(self) -> None:
        check_json_depth("x", 0)
        check_json_depth({"a": [1, {"b": 2}]}, 3)
        self.assertRaises(NotCanonical, check_json_depth, {"a": [1, {"b": 2}]}, 2)
        self.assertRaises(NotCanonical, check_json_depth, [], 0)


class MemoryTests(SynchronousTestCase):
    def test_what_is_kept_takes_little_more_memory_than_its_bytes(self) -> None:
        value = {"key": "x" * 300}
        tracemalloc.start()
        try:
            kept = [encode_canonical(value) for _ in range(100)]
            taken_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(taken_bytes, 1.5 * sum(map(len, kept)))
