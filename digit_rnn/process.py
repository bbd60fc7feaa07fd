"""The command's own process: what is set for it alone, and how it ends. Nothing here touches a caller from Python."""

import atexit
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

from digit_rnn.errors import StoppedError

ASKED_FOR = ("profilers", "callbacks.model_summary", "callbacks.early_stopping")  # parts of Lightning that may speak


def silenced_warnings() -> list[tuple[type[Warning], str]]:
    """Each of these messages, and no other of its kind, is silenced by the command, for the reason beside it."""
    from torch.jit import TracerWarning  # type: ignore[attr-defined]

    return [
        (FutureWarning, r".*LeafSpec.*"),  # Lightning's own code against this torch
        (FutureWarning, r"`torch\.jit\.trace(_method)?` is deprecated"),  # what TensorBoard draws its graph from
        (TracerWarning, ""),  # addressed to those who would run that trace on other images
        (UserWarning, r"The number of training batches \(\d+\) is smaller than the logging interval"),  # epochs are
        (UserWarning, r"The '\w+' does not have many workers"),  # the data is in memory: workers would only cost
        (UserWarning, r"Glyph \d+ .* missing from font"),  # a file's name, drawn with boxes in place of letters
        (UserWarning, r"Checkpoint directory .* exists and is not empty"),  # that of a run that is resumed
        (UserWarning, r"`ModelCheckpoint\(monitor='val_accuracy'\)` could not find"),  # of a run without validation
        (UserWarning, r"The dirpath has changed"),  # a run that starts from another run's checkpoint has its own folder
    ]


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's lists of devices and adverts, and without the warnings above.

    In the end, warnings, levels, environment, random state and Ctrl-C are as they were before.
    """
    import logging  # it registers an exit handler, and FastExit's has to be the first

    import torch
    from lightning.pytorch.utilities.seed import isolate_rng

    environment, handler = dict(os.environ), signal.getsignal(signal.SIGINT)
    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    wanted = dict.fromkeys(("lightning.pytorch", "lightning.fabric"), logging.WARNING)
    wanted |= dict.fromkeys((f"lightning.pytorch.{name}" for name in ASKED_FOR), logging.INFO)
    levels = {name: logging.getLogger(name).level for name in wanted}
    try:
        with isolate_rng(), warnings.catch_warnings():
            for category, message in silenced_warnings():
                warnings.filterwarnings("ignore", message, category)
            for name, level in wanted.items():
                logging.getLogger(name).setLevel(level)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        os.environ.clear()
        os.environ.update(environment)
        set_handler(signal.SIGINT, handler)  # Lightning has it ignored after Ctrl-C


def set_handler(number: signal.Signals, handler: Any) -> Any:
    """Sets a signal's handler where that can be done, in the main thread; gives the one before."""
    if threading.current_thread() is threading.main_thread():
        return signal.signal(number, handler)
    return None


@contextmanager
def stoppable() -> Iterator[None]:
    """Has SIGTERM raise KeyboardInterrupt, as Ctrl-C does; Lightning would go on, or end as if done."""
    before = set_handler(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except SystemExit as end:  # Lightning's own after Ctrl-C
        raise KeyboardInterrupt from end
    finally:
        set_handler(signal.SIGTERM, before)


def set_up() -> None:
    """Sets what pays for itself in a process that runs one command; called once torch is there.

    Measured on 2 cores as shares of a run of two epochs (medians of 5 alternating pairs).
    """
    import torch

    # The optimizer asks in each step whether there is a GPU; Lightning has it asked of the driver's library, which
    # takes 7 % of a step where there is none.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1" if torch.cuda.is_available() else "0"
    # TensorBoard loads TensorFlow where it is installed, for 3 seconds and no use; this is its own switch.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    # TensorBoard's own thread meets a full disk first, and the main thread hears of it.
    threading.excepthook = lambda args: None if args.exc_type is OSError else threading.__excepthook__(args)


class EarlyStop:
    """Ends the process at Ctrl-C, with one line, as long as there is nothing to save.

    A thread waits for the signal: the main one may be importing what swallows a KeyboardInterrupt, or be waiting in C++
    for other processes.
    """

    handler: object = None

    def begin(self) -> None:
        """Watches, unless Ctrl-C is ignored, as in the background."""
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        self.handler = signal.signal(signal.SIGINT, lambda *_: None)
        receiving, self.sending = os.pipe()
        os.set_blocking(self.sending, False)
        signal.set_wakeup_fd(self.sending)
        threading.Thread(target=self._wait, args=(receiving,), daemon=True).start()

    def end(self) -> None:
        """From here on, Ctrl-C is a KeyboardInterrupt, and what was done is saved."""
        if self.handler:
            self.handler = None
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.close(self.sending)

    def _wait(self, receiving: int) -> None:
        while number := os.read(receiving, 1):
            if number[0] == signal.SIGINT:
                if os.environ.get("LOCAL_RANK", "0") == "0":  # one line for all processes
                    print("error: stopped", file=sys.stderr, flush=True)
                os._exit(StoppedError.status)
        os.close(receiving)


early_stop = EarlyStop()


class FastExit:
    """Ends the process without freeing every object: 1.5 seconds after torch and Lightning, 12 % of a short run.

    An exit handler that is registered first runs last, so those of others have all run. Where somebody was first,
    nothing is done. Among several processes, it also spares the end of torch's threads, which now and then aborts one.
    """

    status = 1

    def register(self) -> None:
        """To be called before anything is imported."""
        if not atexit._ncallbacks():
            atexit.register(self._end)

    def _end(self) -> NoReturn:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()
            except (OSError, ValueError):  # it is closed
                self.status = self.status or 1
        os._exit(self.status)


fast_exit = FastExit()
