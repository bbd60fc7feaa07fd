"""A page to draw on, in the browser: ``python -m digit_rnn page``."""
