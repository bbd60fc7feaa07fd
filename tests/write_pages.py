"""Writes made-up pages as pictures with their labels, as ``test --data.pictures`` reads them.

python -m tests.write_pages pages 700 704
python -m digit_rnn test --ckpt_path pretrained --data.pictures pages
"""

import argparse
import csv
from pathlib import Path

from PIL import Image

from digit_rnn import MNISTDataModule
from tests.kinds import KINDS
from tests.pages import make_page


def main() -> None:
    """Writes the pages that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("seeds", type=int, nargs=2, help="the first seed, and that after the last")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="all of them unless told")
    parser.add_argument("--root", default="data", help="where MNIST is, or is put")
    options = parser.parse_args()
    data = MNISTDataModule(options.root)
    data.prepare_data()
    data.setup("test")
    images, labels = data.test_set.images.numpy(), data.test_set.labels.numpy()
    options.folder.mkdir(parents=True)
    with (options.folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("file", "text"))
        for kind in options.kinds:
            for seed in range(*options.seeds):
                page = make_page(kind, seed, images, labels)
                Image.fromarray(page.picture).save(options.folder / f"{kind}_{seed}.png")
                table.writerow((f"{kind}_{seed}.png", "/".join(page.rows)))


if __name__ == "__main__":
    main()
