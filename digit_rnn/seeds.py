"""Seeds for the draws of an epoch: a resumed run draws what it would have drawn without the stop."""

import numpy as np


def mixed_seed(*numbers: int) -> int:
    """One seed of 64 bits from several numbers, such as a run's seed, the epoch and the process.

    Args:
        numbers: From 0. Any others, as many, give unrelated draws.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
