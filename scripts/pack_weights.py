"""Makes a run's best checkpoint the network that comes with the package.

    python -m digit_rnn fit --config configs/accurate.yaml
    python scripts/pack_weights.py runs/version_0/checkpoints/best.ckpt

Keeps the weights, the options and the validation accuracy, leaves the optimizer out, and writes the file's SHA-256
where it is checked before the network is used.
"""

import argparse
import hashlib
import re
from pathlib import Path

from digit_rnn import checkpoints

KEPT = ("state_dict", "hyper_parameters", "datamodule_hyper_parameters", "pytorch-lightning_version", "epoch")


def main() -> None:
    """Packs the checkpoint named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a run's best.ckpt")
    options = parser.parse_args()
    _, checkpoint = checkpoints.read_checkpoint(options.checkpoint)
    packed = {name: checkpoint[name] for name in KEPT}
    scores = [state.get("best_model_score") for state in checkpoint.get("callbacks", {}).values()]
    packed["val_accuracy"] = max(float(score) for score in scores if score is not None)
    checkpoints.AtomicCheckpointIO().save_checkpoint(packed, checkpoints.PRETRAINED)
    digest = hashlib.sha256(checkpoints.PRETRAINED.read_bytes()).hexdigest()
    source = Path(checkpoints.__file__)
    line = re.compile(r'^PRETRAINED_SHA256 = ".*"$', re.MULTILINE)
    source.write_text(line.sub(f'PRETRAINED_SHA256 = "{digest}"', source.read_text(encoding="utf-8")), encoding="utf-8")
    size = checkpoints.PRETRAINED.stat().st_size
    print(f"{checkpoints.PRETRAINED}: {size:,} bytes, val_accuracy {packed['val_accuracy']:.4f}, SHA-256 {digest}")


if __name__ == "__main__":
    main()
