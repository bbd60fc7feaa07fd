"""``python -m digit_rnn``, and the console script ``digit-rnn``."""

import os
import sys

from digit_rnn import process
from digit_rnn.errors import one_line_errors


def run() -> None:
    """Runs the command in a process of its own.

    Raises:
        SystemExit: With the command's exit status, where it is not 0.
    """
    process.fast_exit.register()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: what is opened next would take its place
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (it stays open)
    process.early_stop.begin()
    try:
        with one_line_errors():
            from digit_rnn.cli import main

            process.set_up()
            main()
            sys.stdout.flush()
        process.fast_exit.status = 0
    except SystemExit as end:
        process.fast_exit.status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        raise


if __name__ == "__main__":
    run()
