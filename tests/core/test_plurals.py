"""Numbers with their nouns: one function writes them, in every text for people."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from zoo.plurals import counted

ROOT = Path(__file__).parents[2]
NOUNS = (
    "cells|classes|cores|entries|epochs|files|galaxies|GPUs|images|lenses|masses|models|networks|nodes|parameters|"
    "parts|processes|problems|rows|runs|scenes|seeds|shards|tensors|trials"
)
ADJECTIVE = r"(?:(?!(?:and|has|holds|images|in|is|of|on) )[a-z-]+ )?"
COUNTS = re.compile(rf"^ {ADJECTIVE}(?:(?:{NOUNS})\b(?!/s)|[a-z]+\(s\))")
"""Text after a value that makes the value the number of things."""
NAMES = {"split", "SPLIT_WORDS[name]"}
"""Values that are words, as in "the test images"."""
SOURCES = sorted(
    path
    for folder in ("zoo", "plugins")
    for path in (ROOT / folder).rglob("*.py")
    if "tests" not in path.relative_to(ROOT).parts
)


def numbers_with_a_plural(source: str) -> list[str]:
    """Return the values of f-strings that a fixed plural follows."""
    return [
        ast.unparse(value.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.JoinedStr)
        for value, text in zip(node.values, node.values[1:], strict=False)
        if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant) and COUNTS.match(text.value)
    ]


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "image", "1 image"),
        (0, "image", "0 images"),
        (2048, "test image", "2,048 test images"),
        (2, "class", "2 classes"),
        (3, "parallel process", "3 parallel processes"),
        (1, "entry", "1 entry"),
        (25, "point mass", "25 point masses"),
    ],
)
def test_a_noun_is_singular_for_one_only(number, noun, text):
    assert counted(number, noun) == text


def test_the_search_finds_what_it_should():
    assert numbers_with_a_plural('f"{len(a):,} images and {b} new files"') == ["len(a)", "b"]
    assert numbers_with_a_plural('f"{a} thread(s) of {b}"') == ["a"]
    assert numbers_with_a_plural('f"{rate} images/s, {a} of {b}: imagess"') == []


def test_no_number_stands_before_a_fixed_plural():
    found = {
        path.relative_to(ROOT).as_posix(): values
        for path in SOURCES
        if (values := set(numbers_with_a_plural(path.read_text(encoding="utf-8"))) - NAMES)
    }
    assert found == {}


def counts_with_a_plural_verb(source: str) -> list[str]:
    """Return the calls of `counted` that are the subject of a verb in the plural: "1 of 1 image are"."""
    found = []
    for node in ast.walk(ast.parse(source)) if re.search(r"\)\} (?:are|have|were) ", source) else ():
        values = node.values if isinstance(node, ast.JoinedStr) else []
        texts = [value.value if isinstance(value, ast.Constant) else "0" for value in values]
        for i, text in enumerate(texts[1:], 1):
            of_others = re.search(r"\bthe \w+s of (?:0 of )?0$", "".join(texts[:i]))
            if re.match(r" (?:are|have|were) ", text) and not of_others:
                found.append(ast.unparse(values[i - 1].value))
    return [call for call in found if call.startswith("counted(")]


def test_the_search_for_verbs_finds_what_it_should():
    assert counts_with_a_plural_verb("f\"{a} of {counted(b, 'image')} are bad\"") == ["counted(b, 'image')"]
    assert counts_with_a_plural_verb("f\"the pixels of {a} of {counted(b, 'image')} are bad\"") == []


def test_no_verb_in_the_plural_follows_a_number_that_may_be_one():
    sources = ((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in SOURCES)
    assert {name: found for name, source in sources if (found := counts_with_a_plural_verb(source))} == {}


@pytest.mark.parametrize("path", sorted((ROOT / "zoo").rglob("templates/*.*")), ids=lambda path: path.name)
def test_no_number_stands_before_a_fixed_plural_in_a_template(path):
    found = re.findall(rf"\}}\}} {ADJECTIVE}(?:{NOUNS})\b(?!/s).*", path.read_text(encoding="utf-8"))
    assert found == []
