"""``python -m digit_rnn``, and the console script ``digit-rnn``."""

import gc
import os
import signal
import sys
from typing import NoReturn

NUMBERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "SLURM_NTASKS", "SLURM_PROCID")  # set by launchers


def stop(*_: object) -> NoReturn:
    """Ends the command at Ctrl-C, before there is anything to save."""
    print("error: stopped", file=sys.stderr, flush=True)
    os._exit(130)


def run() -> None:
    """Runs the command in a process of its own, without a second's tidying before and after."""
    for name in NUMBERS:  # which Lightning reads while it is imported
        if not os.environ.get(name, "0").isdecimal():
            print(f"error: the environment's {name}={os.environ[name]} is no number: unset it", file=sys.stderr)
            raise SystemExit(2)
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored, in the background
    if ours:  # some imports would swallow a KeyboardInterrupt and go on
        signal.signal(signal.SIGINT, stop)
    gc.disable()  # imports make half a million objects, and no garbage
    from digit_rnn.cli import main

    gc.enable()
    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        stop()
    sys.stdout.flush()
    sys.stderr.flush()
    if "RANK" not in os.environ and "LOCAL_RANK" not in os.environ:  # one process of several ends in good order
        os._exit(0)


if __name__ == "__main__":
    run()
