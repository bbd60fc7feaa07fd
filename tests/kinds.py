"""The kinds of pages that tests make: each names what is unlike a plain page."""

from typing import Any, NamedTuple

from tests.paper import Range


class Kind(NamedTuple):
    layout: str = "rows"  # or columns, comb, boxes, table, teeth, blanks, fields; without digits: print, script,
    # crosses, scribble, none
    rows: tuple[int, int] = (1, 5)
    digits: tuple[int, int] = (3, 9)  # of a row; less where the picture is too narrow
    height: Range = (38, 100)  # of digits, in pixels
    gap: Range = (0.25, 0.5)  # between digits, in heights
    slope: float = 0.5  # at most, in degrees
    bend: float = 0.0  # of a row, at most, in heights
    pen: Range = (0.06, 0.1)  # width, in heights
    inks: tuple[str, ...] = ("black", "blue")
    contrast: Range = (0.6, 0.9)
    grain: bool = False  # a dry pen: grain and gaps
    signs: str = ""  # what may stand between digits
    second_pen: Range = (1.0, 1.0)  # how dark each second row is beside the first
    rings: bool = False  # around each digit
    words: bool = False  # printed words before the rows
    label: Range = (0.5, 0.6)  # the height of these words, and the gap after them, in heights of digits
    cell: float = 1.5  # width of the cells of boxes and combs, in heights; they are a tenth higher
    frame: float = 1 / 30  # thickness of printed lines, in heights
    numbered: bool = False  # printed numbers, not words, at the beginning of a table's rows
    papers: tuple[str, ...] = ("white", "cream", "grey")
    rules: str = ""  # or ruled, squared
    stains: int = 0  # rings and blots of coffee
    shadow: bool = False
    corners: float = 0.0  # share of the light that is lost in the corners
    border: tuple[str, ...] = ()  # what may lie at a side: table, dark, finger, binding
    tilt: float = 0.008  # of the camera: by which share of the width a corner is moved
    blur: Range = (0.4, 0.9)
    noise: Range = (0.0, 0.012)
    quality: tuple[int, int] = (75, 95)


LAYOUTS: dict[str, dict[str, Any]] = {
    "rows": {},
    "single": {"rows": (1, 1), "digits": (1, 1), "height": (80, 140)},
    "columns": {"layout": "columns", "rows": (3, 8), "height": (30, 70)},
    "sloping": {"slope": 6},
    "bent": {"bend": 0.6, "slope": 2},
    "narrow": {"gap": (0.08, 0.14), "digits": (6, 14)},
    "wide": {"gap": (0.8, 1.5), "digits": (3, 6)},
    "touching": {"gap": (-0.14, -0.04), "digits": (3, 8)},
    "small": {"height": (25, 32), "rows": (4, 12), "digits": (8, 20), "pen": (0.08, 0.11)},
    "large": {"height": (110, 140), "rows": (1, 3)},
    "operators": {"signs": "+-x=/", "gap": (0.3, 0.5)},
    "commas": {"signs": ",", "gap": (0.25, 0.4)},
    "letters": {"signs": "AEFHKMNRTW", "gap": (0.25, 0.45)},
    "words": {"words": True},
    "comb": {"layout": "comb", "rows": (1, 4), "words": True},
    "boxes": {"layout": "boxes", "rows": (1, 4)},
    "table": {"layout": "table", "rows": (3, 8), "height": (28, 60)},
    "form": {"layout": "table", "rows": (4, 8), "height": (32, 60), "numbered": True, "contrast": (0.35, 0.6)},
}
PENS: dict[str, dict[str, Any]] = {
    "pencil": {"inks": ("pencil",), "contrast": (0.15, 0.3), "pen": (0.04, 0.07), "noise": (0.0, 0.006)},
    "marker": {"pen": (0.12, 0.15), "contrast": (0.8, 0.95)},
    "colour": {"inks": ("blue", "red")},
    "broken": {"inks": ("pencil",), "grain": True, "contrast": (0.35, 0.6)},
}
PAPERS: dict[str, dict[str, Any]] = {
    "kraft": {"papers": ("kraft",), "inks": ("black",)},
    "shadow": {"shadow": True},
    "edge": {"border": ("table", "dark")},
    "finger": {"border": ("finger",)},
    "ruled": {"rules": "ruled"},
    "squared": {"rules": "squared"},
    "binding": {"border": ("binding",), "rules": "ruled"},
    "board": {"papers": ("board",), "inks": ("pencil",), "contrast": (0.5, 0.9)},
}
CAMERAS: dict[str, dict[str, Any]] = {
    "blurred": {"blur": (1.4, 2.2), "height": (45, 100)},
    "noisy": {"noise": (0.02, 0.045)},
    "blocky": {"quality": (18, 35)},
}
MORE: dict[str, dict[str, Any]] = {  # of which mixed pages are not made
    "tilted": {"slope": 8, "gap": (1.5, 5.0), "digits": (3, 7), "height": (30, 60), "rows": (2, 4)},
    "lone_ruled": {"rules": "ruled", "rows": (1, 1), "digits": (1, 1), "height": (50, 140), "shadow": True},
    "lone_squared": {"rules": "squared", "rows": (1, 1), "digits": (1, 1), "height": (50, 140)},
    "stained": {"stains": 2},
    "two_pens": {"rows": (2, 5), "second_pen": (0.35, 0.5)},
    "circled": {"rings": True, "gap": (0.9, 1.3), "digits": (2, 6), "pen": (0.06, 0.08)},
    "dark_corners": {"corners": 0.75},
    "labels": {"words": True, "label": (0.75, 1.2)},
    "open_comb": {"layout": "teeth", "rows": (1, 4), "words": True, "label": (0.75, 1.2), "frame": 0.05},
    "blanks": {"layout": "blanks", "rows": (1, 4), "frame": 0.05},
    "fields": {"layout": "fields", "rows": (2, 4), "words": True, "frame": 0.05},
    "tight_boxes": {"layout": "boxes", "rows": (1, 4), "cell": 1.15},
    "thick_comb": {"layout": "comb", "rows": (1, 3), "frame": 0.17},
}
EMPTY: dict[str, dict[str, Any]] = {
    "empty": {"layout": "none"},
    "empty_ruled": {"layout": "none", "rules": "ruled", "shadow": True},
    "empty_edge": {"layout": "none", "border": ("table", "dark", "binding", "finger")},
    "only_letters": {"layout": "script", "rows": (2, 6), "pen": (0.04, 0.07)},
    "only_print": {"layout": "print", "rows": (4, 12), "height": (25, 40)},
    "only_crosses": {"layout": "crosses", "rows": (2, 4)},
    "scribble": {"layout": "scribble"},
    "texture": {"layout": "none", "papers": ("wood", "gravel")},
}
KINDS = LAYOUTS | PENS | PAPERS | CAMERAS | MORE | {"mixed": {}} | EMPTY
