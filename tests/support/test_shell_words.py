"""Paths in commands: a shell reads back what was meant, and no command takes them for an option."""

from __future__ import annotations

import shlex

import pytest

from ryla_gen.support.shell_words import path_word


@pytest.mark.parametrize("name", ["plain.json", "my graph.json", "it's.json", "$(id).json", "-x.json", "--offline", "a;b\n.json"])
def test_a_path_is_one_word_and_no_option(name: str) -> None:
    (word,) = shlex.split(path_word(name))
    assert word in (name, f"./{name}")
    assert not word.startswith("-")
