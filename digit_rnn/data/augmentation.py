"""Random changes of training images: a function each, and the tables by which recipes name them.

A function is called with how much it may change an image, and draws the change of each image of a batch by itself from
the generator it is given. None makes the processor wait for a GPU.
"""

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from digit_rnn.errors import OptionError


def random_rotation(degrees: float, count: int, generator: torch.Generator) -> Tensor:
    """Turns by up to so many degrees to either side: matrices (count, 2, 2)."""
    angle = _symmetric(count, generator) * math.radians(degrees)
    return _matrices(angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def random_scale(share: float, count: int, generator: torch.Generator) -> Tensor:
    """Grows or shrinks, in width and height apart, by up to this share of the size: matrices (count, 2, 2)."""
    width, height = 1 + _symmetric(count, generator) * share, 1 + _symmetric(count, generator) * share
    nothing = torch.zeros_like(width)
    return _matrices(1 / width, nothing, nothing, 1 / height)


def random_shear(degrees: float, count: int, generator: torch.Generator) -> Tensor:
    """Slants by up to so many degrees to either side: matrices (count, 2, 2)."""
    slant = (_symmetric(count, generator) * math.radians(degrees)).tan()
    return _matrices(torch.ones_like(slant), slant, torch.zeros_like(slant), torch.ones_like(slant))


def random_translation(images: Tensor, labels: Tensor, pixels: float, generator: torch.Generator) -> Tensor:
    """Moves by up to so many pixels in each direction; whole ones, so that nothing is blurred."""
    reach = int(pixels)
    frames = torch.randint(2 * reach + 1, (2, len(images)), generator=generator, device=images.device)
    return _reframed(images, frames, reach)


def random_elastic(count: int, size: tuple[int, int], pixels: float, generator: torch.Generator) -> Tensor:
    """Bends strokes: displacements (count, height, width, 2), in pixels, smooth and of this standard deviation.

    Each image has a coarse grid of random arrows, between which they change smoothly (after Simard, Steinkraus, Platt
    2003, "Best practices for convolutional neural networks applied to visual document analysis").
    """
    arrows = torch.randn(count, 2, 5, 5, generator=generator, device=generator.device) * pixels
    return F.interpolate(arrows, size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)


def random_upstroke(images: Tensor, labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draws, on this share of the 1s, the long upstroke with which much of the world writes them.

    It rises from the lower left to the top of the digit, some from the foot. MNIST's writers were American and leave it
    out. The digit is centred by mass again, as MNIST's are.
    """
    draws = torch.rand(3, len(images), generator=generator, device=images.device)
    chosen = (labels == 1) & (draws[0] < share)
    # A few images of a batch: to draw on these alone is faster, but a GPU would have to say which before it goes on.
    places = chosen.nonzero()[:, 0] if images.device.type == "cpu" else torch.arange(len(images), device=images.device)
    picked, (_, reach, slope) = images[places], draws[:, places]
    length, angle = 4 + 20 * reach, (30 + 35 * slope).deg2rad()  # pixels; degrees below the horizontal
    along_x, along_y = -angle.cos()[:, None, None], angle.sin()[:, None, None]
    rows, columns = (torch.arange(n, device=images.device, dtype=images.dtype) for n in images.shape[1:])
    inked = picked > 0.5
    top = inked.any(2).to(torch.uint8).argmax(1)  # the first row with ink; the stroke ends in the middle of its ink
    first = inked.gather(1, top[:, None, None].expand(-1, 1, inked.shape[2]))[:, 0].to(images.dtype)
    middle = (first * columns).sum(1) / first.sum(1).clamp(min=1)
    x, y = (columns - middle[:, None])[:, None, :], (rows - top[:, None] - 0.5)[:, :, None]
    place = (x * along_x + y * along_y).clamp(min=0).minimum(length[:, None, None])  # nearest point of the stroke
    distance = ((x - place * along_x) ** 2 + (y - place * along_y) ** 2).sqrt()
    stroke = (1.7 - distance).clamp(0, 1) * chosen[places, None, None]
    drawn = picked.maximum(stroke)
    moved = (_centres(drawn) - _centres(picked)).round().long().clamp(-FARTHEST, FARTHEST)
    return images.index_copy(0, places, _reframed(drawn, FARTHEST + moved, FARTHEST))


MAPS: dict[str, Callable[[float, int, torch.Generator], Tensor]] = {
    "scale": random_scale,
    "rotation": random_rotation,
    "shear": random_shear,
}
"""(amount, count, generator) → from a pixel's place, seen from the centre, to where it is taken from."""

CHANGES: dict[str, Callable[[Tensor, Tensor, float, torch.Generator], Tensor]] = {
    "upstroke": random_upstroke,
    "translation": random_translation,
}
"""(images, labels, amount, generator) → images."""

ELASTIC = "elastic"
FARTHEST = 8  # pixels by which a digit with an upstroke is moved, at most
LARGEST = {ELASTIC: 10.0, "scale": 0.9, "upstroke": 1.0, "rotation": 180.0, "shear": 80.0, "translation": 28.0}


def checked_augmentations(amounts: Mapping[str, float]) -> dict[str, float]:
    """The amounts by name, as plain numbers.

    Raises:
        OptionError: A name is unknown, or an amount is negative, too large or no number.
    """
    for name, amount in amounts.items():
        known = (ELASTIC, *MAPS, *CHANGES)
        if name not in known:
            raise OptionError(f"--data.augmentations: {name!r} is unknown: expected {', '.join(known)}")
        largest = LARGEST.get(name, math.inf)
        if not 0 <= amount <= largest or (name == "translation" and amount != int(amount)):
            kind = "whole number" if name == "translation" else "number"
            raise OptionError(f"--data.augmentations.{name} {amount}: expected a {kind} from 0 to {largest:g}")
    return {name: float(amount) for name, amount in amounts.items()}


def augment(images: Tensor, labels: Tensor, amounts: Mapping[str, float], generator: torch.Generator) -> Tensor:
    """Changes each image of a batch at random.

    Args:
        images: float32 (B, H, W) in [0, 1], ink bright.
        labels: int64 (B,), the digits.
        amounts: How much, by the names of ``CHANGES``, ``MAPS`` and ``ELASTIC``.
        generator: Source of the draws, on the device of the images.

    Returns:
        float32 (B, H, W) in [0, 1].
    """
    for name, change in CHANGES.items():
        if amounts.get(name):
            images = change(images, labels, amounts[name], generator)
    maps = [make(amounts[name], len(images), generator) for name, make in MAPS.items() if amounts.get(name)]
    if not maps and not amounts.get(ELASTIC):
        return images
    matrix = torch.eye(2, device=images.device).expand(len(images), 2, 2)
    for other in maps:
        matrix = matrix @ other
    grid = F.affine_grid(F.pad(matrix, (0, 1)), [len(images), 1, *images.shape[1:]], align_corners=False)
    if amounts.get(ELASTIC):
        height, width = images.shape[1:]
        bent = random_elastic(len(images), (height, width), amounts[ELASTIC], generator)
        grid = grid + bent * torch.tensor([2 / width, 2 / height], device=images.device)
    return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]  # all maps at once: one resampling


def _reframed(images: Tensor, frames: Tensor, reach: int) -> Tensor:
    """Moves images (N, H, W) by up to ``reach`` pixels; frames (2, N) say where in their surroundings they are cut out.

    In surroundings of ``reach`` pixels: the first row, and the first column.
    """
    height, width = images.shape[1:]
    windows = F.pad(images, (reach,) * 4).unfold(1, height, 1).unfold(2, width, 1)  # each way to place the frame
    return windows[torch.arange(len(images), device=images.device), *frames]


def _centres(images: Tensor) -> Tensor:
    """Centres of mass of images (N, H, W): rows and columns (2, N)."""
    rows, columns = (torch.arange(n, device=images.device, dtype=images.dtype) for n in images.shape[1:])
    return torch.stack([images.sum(2) @ rows, images.sum(1) @ columns]) / images.sum((1, 2)).clamp(min=1e-6)


def _symmetric(count: int, generator: torch.Generator) -> Tensor:
    """Uniform in [-1, 1]: (count,)."""
    return torch.rand(count, generator=generator, device=generator.device) * 2 - 1


def _matrices(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack([a, b, c, d], dim=1).view(-1, 2, 2)
