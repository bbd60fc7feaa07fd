"""The best path through a row, against all paths tried one by one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digit_rnn.vision.path import Segment, best_path


def all_paths(segments: list[Segment], place: int, length: int) -> list[list[Segment]]:
    if place == length:
        return [[]]
    return [
        [segment, *rest]
        for segment in segments
        if segment.first == place
        for rest in all_paths(segments, segment.last + 1, length)
    ]


@st.composite
def lattices(draw: st.DrawFn) -> tuple[list[Segment], int]:
    length = draw(st.integers(1, 5))
    spans = [(first, last) for first in range(length) for last in range(first, min(first + 3, length))]
    chosen = draw(st.lists(st.sampled_from(spans), unique=True))
    scores = st.floats(-8, 0).filter(lambda score: abs(score) > 1e-3)
    return [Segment(*span, True, draw(scores), place) for place, span in enumerate(chosen)], length


@given(lattices())
def test_it_is_the_best_of_all_and_its_segments_have_their_share(lattice: tuple[list[Segment], int]) -> None:
    segments, length = lattice
    paths = all_paths(segments, 0, length)
    found = best_path(segments, length)
    if not paths:
        assert found == []
        return
    total = {tuple(path): sum(segment.score for segment in path) for path in paths}
    assert sum(segment.score for segment, _ in found) == pytest.approx(max(total.values()))
    everything = sum(map(math.exp, total.values()))
    for segment, share in found:
        expected = sum(math.exp(score) for path, score in total.items() if segment in path) / everything
        assert share == pytest.approx(expected, rel=1e-6)


def test_no_piece_is_a_path_of_none() -> None:
    assert best_path([], 0) == []
