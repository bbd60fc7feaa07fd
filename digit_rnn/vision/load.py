"""Any picture, upright and as lightness: files, PIL images and arrays of every kind."""

import warnings
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from digit_rnn.errors import PictureError

Array = npt.NDArray[Any]
Source = str | Path | BinaryIO | Image.Image | Array

LARGEST_SIDE = 1600  # pixels to which a picture is reduced before it is searched


def load(source: Source) -> tuple[Array, tuple[int, int]]:
    """Opens a picture upright: its lightness, uint8 (H, W) and reduced if large, and its own width and height."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of flaws that don't keep Pillow from reading the picture
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _from_array(source) if isinstance(source, np.ndarray) else _open(source) as image:
                frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1  # a phone's photo with a preview
                if frames > 1 or not all(image.size):
                    raise PictureError(f"has {frames} pages" if frames > 1 else "has no pixels")
                lies = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
                is_tiff = image.format == "TIFF"  # of which Pillow gives the size that it will have upright,
                if lies and is_tiff and image.info.get("compression") == "raw":  # and for which it reads this wrong
                    raise PictureError("is a turned TIFF without compression: save it upright, or as PNG")
                size = image.size[::-1] if lies and not is_tiff else image.size
                image.draft(None, (LARGEST_SIDE,) * 2)  # a JPEG can be opened at a half or a quarter of its size
                lightness = _lightness(ImageOps.exif_transpose(image))
    except PictureError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PictureError(str(error)) from error
    except Exception as error:  # Pillow raises whatever the damaged bytes lead to
        if isinstance(error, OSError) and error.strerror:
            raise PictureError(error.strerror) from error
        raise PictureError(f"not a picture, or damaged ({type(error).__name__})") from error
    return reduced(lightness, LARGEST_SIDE), size


def reduced(picture: Array, side: int) -> Array:
    """The picture with its longer side reduced to ``side``, or the picture itself where it is no longer than that."""
    scale = side / max(picture.shape)
    if scale >= 1:
        return picture
    width, height = (max(1, round(length * scale)) for length in reversed(picture.shape))
    result: Array = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return result


def _open(source: str | Path | BinaryIO | Image.Image) -> Image.Image:
    return source.copy() if isinstance(source, Image.Image) else Image.open(source)


def _from_array(array: Array) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or array.shape[2:] not in ((), (3,), (4,)) or array.ndim < 2:
        raise PictureError(f"is an array of shape {array.shape}: expected (H, W) or (H, W, 3 or 4)")
    if array.dtype == np.uint16 and array.ndim == 3:
        array = (array >> 8).astype(np.uint8)
    if array.dtype == bool:
        array = array * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        if not (abs(array - 0.5) <= 0.501).all():  # nor is what is no number
            raise PictureError("is an array of floats that are not all in [0, 1]: divide bytes by 255")
        array = np.rint(array.clip(0, 1) * 255).astype(np.uint8)
    elif array.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"is an array of {array.dtype}: expected bytes, 16-bit integers or floats in [0, 1]")
    return Image.fromarray(array)


def _lightness(image: Image.Image) -> Array:
    """Lightness, uint8 (H, W); what is transparent becomes paper."""
    if image.mode[0] in "IF":  # 16 or 32 bits, used in whole or in part
        values = np.nan_to_num(np.asarray(image, np.float32))
        low, high = float(values.min()), float(values.max())
        grey: Array = np.rint((values - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
        return grey
    if image.has_transparency_data and image.mode not in ("LA", "RGBA"):
        image = image.convert("RGBA")
    light = image.convert("L")
    if image.has_transparency_data and (alpha := image.getchannel("A")).getextrema() != (255, 255):
        step = 1 + max(image.size) // 200  # a sample knows enough
        opaque = np.asarray(light)[::step, ::step][np.asarray(alpha)[::step, ::step] > 127]
        # Dark ink has lighter edges, light ink no darker ones.
        dark = len(opaque) > 0 and np.percentile(opaque, 10) < 128
        light = Image.composite(light, Image.new("L", image.size, 255 if dark else 0), alpha)
    return np.asarray(light)
