"""No parser of foreign data answers broken data with anything but a value or an error of ours. ``FUZZ_CASES`` runs more of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
from pathlib import Path

import pytest

from ryla_gen.errors import RylaGenError

from .fuzzing import fuzz, plan
from .mutating import mutated, mutated_bytes, mutated_text
from .parsers import PARSERS, Parser

CASES = int(os.environ.get("FUZZ_CASES", "4000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SHARES = {parser.name: count for parser, count in plan(CASES, PARSERS)}


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_broken_data_is_a_value_or_an_error_of_ours(parser: Parser) -> None:
    _, findings = fuzz(SHARES[parser.name], seed=SEED, parsers=[parser])
    assert not findings, "\n".join(map(str, findings))


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_good_data_is_read(parser: Parser, tmp_path: Path) -> None:
    """Else the broken data would only ever meet the first check."""
    read = 0
    for sample in parser.samples():
        with contextlib.suppress(RylaGenError):  # a sample may be an error's
            parser.call(json.dumps(sample) if parser.kind == "json" else sample, tmp_path)
            read += 1
    assert read


def test_the_same_seed_gives_the_same_cases() -> None:
    sample = {"a": [1, {"b": "c"}], "d": None}
    for seed in range(50):
        one, two = random.Random(seed), random.Random(seed)
        assert repr(mutated(sample, one)) == repr(mutated(sample, two))
        assert mutated_text("abc", one) == mutated_text("abc", two)
        assert mutated_bytes(b"abc", one) == mutated_bytes(b"abc", two)
    assert sample == {"a": [1, {"b": "c"}], "d": None}, "and the sample stays as it was"


def test_a_fault_is_found_and_told_with_its_smallest_case() -> None:
    clumsy = Parser("clumsy", "data", lambda: [{"a": {"b": 1}}], lambda data, _: data["a"]["b"] + 1)
    ran, findings = fuzz(300, parsers=[*PARSERS[:0], clumsy])
    assert ran == 300
    assert {"KeyError", "TypeError"} <= {finding.error for finding in findings}
