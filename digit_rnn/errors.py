"""What a user can put right, as exceptions, and the one line in which the command reports any exception."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TRACEBACK = "DIGIT_RNN_TRACEBACK"  # the environment variable with which the command shows where an error arose


class DigitRNNError(Exception):
    """Something that a user can put right; the message says what was wrong, the value seen and what to do."""

    status = 2  # the command's exit status


class OptionError(DigitRNNError):
    """An option has a value that cannot be used."""


class DataError(DigitRNNError):
    """The images cannot be provided."""


class PictureError(DigitRNNError):
    """A picture cannot be read."""


class CheckpointError(DigitRNNError):
    """A checkpoint is missing, damaged, not this program's, or cannot be written."""


class OutputError(DigitRNNError):
    """Results cannot be written: no folder can be made, or the file is there already."""


class TrainingError(DigitRNNError):
    """Training cannot go on, as the loss is not finite."""


class IncompleteError(DigitRNNError):
    """The command came to its end, but without some of its results."""

    status = 1


class StoppedError(DigitRNNError):
    """Ctrl-C or SIGTERM stopped the command."""

    status = 130


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns any exception into one line on stderr.

    Raises:
        SystemExit: With the status of a ``DigitRNNError``, 2 for what the operating system refuses, 130 for Ctrl-C, and
            1 for what nobody foresaw.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get(TRACEBACK):
            raise
        if isinstance(error, DigitRNNError):
            message, status = str(error), error.status
        elif isinstance(error, KeyboardInterrupt):
            message, status = "stopped", StoppedError.status
        elif isinstance(error, OSError) and error.strerror:
            place = f" ({error.filename})" if error.filename else ""
            message, status = f"{error.strerror}{place}: stopped; what was written before is still there", 2
        else:
            first = next(iter(str(error).splitlines()), "")
            message, status = f"{type(error).__name__}: {first[:300]}; {TRACEBACK}=1 shows where", 1
        if status == 1 or all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK")):
            with suppress(OSError):  # nobody may be there to read it
                print("error:", " ".join(message.split()), file=sys.stderr)  # what all processes say, once
        raise SystemExit(status) from None


@contextmanager
def option_errors(advice: str) -> Iterator[None]:
    """Where Lightning's objects are made of options, whatever goes wrong is an option's fault.

    Raises:
        OptionError: With the reason, and the advice where to look.
    """
    try:
        yield
    except DigitRNNError:
        raise
    except Exception as error:
        own = re.search(r"Problem with given class_path (.*\n.*)", str(error))  # among all that jsonargparse has tried
        reason = own[1] if own else str(error)
        hint = " (auto, as the accelerator, takes what there is)" if "accelerator" in reason else ""
        raise OptionError(f"{reason}{hint}; see {advice}") from error
