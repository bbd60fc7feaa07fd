from collections import Counter

import pytest

from digit_rnn.reporting.scores import Score, count, edit_distance, scores_line


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("123", "123", 0), ("123", "", 3), ("", "12", 2), ("123", "13", 1), ("123", "153", 1),
     ("12", "21", 2), ("12345", "23456", 2)],
)  # fmt: skip
def test_edit_distance(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == distance


def test_what_is_counted_of_a_picture() -> None:
    scores = [
        Score("a", ["12", "34"], ["12", "3_4"], "", "", 0),  # marks don't count
        Score("b", ["12", "34"], ["1234"], "", "", 0),  # no digit is wrong, but the rows are
        Score("c", ["12"], ["99999"], "low confidence", "", 2),  # no fewer right than none
        Score("d", [], [], "no digit found", "", 0),
        Score("e", [], ["_"], "", "", 0),
        Score("f", [], ["7"], "", "", 0),
        Score("g", ["5"], [], "is empty", "is empty", 0),
        Score("h", [], [], "is empty", "is empty", 0),
    ]
    assert [score.is_right for score in scores] == [True, False, False, True, True, False, False, False]
    assert [score.edits for score in scores] == [0, 0, 5, 0, 0, 1, 1, 0]
    counts = sum(map(count, scores), Counter[str]())
    assert counts == {
        "pictures": 8, "wrong": 5, "to check": 4, "wrong and not flagged": 2, "unreadable": 2, "digits": 11, "edits": 7,
        "digits right": 8, "digits to check": 2,
    }  # fmt: skip
    assert scores_line(counts) == "digits right 0.7273  pictures right 0.3750  wrong and not flagged 2"
    assert scores_line(count(scores[3])) == "pictures right 1.0000  wrong and not flagged 0"
