"""``python -m digit_rnn``."""

from digit_rnn.cli import main

if __name__ == "__main__":
    main()
