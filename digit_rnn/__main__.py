"""``python -m digit_rnn``, and the console script ``digit-rnn``."""

import gc
import os
import sys


def run() -> None:
    """Runs the command in a process of its own, without a second's tidying before and after."""
    try:
        gc.disable()  # imports make half a million objects, and no garbage
        from digit_rnn.cli import main

        gc.enable()
        main()
    except KeyboardInterrupt:
        print("error: stopped", file=sys.stderr)
        os._exit(130)
    sys.stdout.flush()
    sys.stderr.flush()
    if "RANK" not in os.environ and "LOCAL_RANK" not in os.environ:  # one process of several ends in good order
        os._exit(0)


if __name__ == "__main__":
    run()
