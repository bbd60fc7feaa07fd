"""Where the digits of a picture are, decided by what a network takes for digits.

A picture of one digit, or of few that stand apart, is read by its connected ink. On a page, pieces of ink and groups of
neighbouring pieces are all drawn as MNIST would have and classified, and the best path through each row is read.
"""

from digit_rnn.finding.finder import find_digits, pretrained_finder

__all__ = ["find_digits", "pretrained_finder"]
