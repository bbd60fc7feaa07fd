"""Someone who opens the page in a browser and draws on it."""

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

Point = tuple[float, float]

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]

STROKES: dict[str, list[list[Point]]] = {
    "7": [[(0.1, 0.06), (0.5, 0.05), (0.92, 0.08), (0.75, 0.35), (0.55, 0.65), (0.42, 0.97)]],
    "4": [
        [(0.25, 0.03), (0.15, 0.3), (0.08, 0.55), (0.45, 0.56), (0.95, 0.52)],
        [(0.75, 0.05), (0.72, 0.4), (0.68, 0.7), (0.66, 1.0)],
    ],
    "2": [
        [
            *((0.1, 0.25), (0.2, 0.08), (0.5, 0.0), (0.8, 0.1), (0.82, 0.32)),
            *((0.6, 0.6), (0.3, 0.82), (0.08, 0.96), (0.4, 0.95), (0.95, 0.93)),
        ]
    ],
}
"""How each digit is drawn, in shares of its width and height."""

ROWS = "[...document.querySelectorAll('#rows div')]"

SCREENS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 800}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "device_scale_factor": 2,
    },
}


class Visitor:
    """The page on one screen, and what it has asked for and complained of."""

    def __init__(self, browser: Any, address: str, screen: str, **options: Any) -> None:
        self.context = browser.new_context(**SCREENS[screen], **options)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)
        self.sheet = self.page.locator("#sheet").bounding_box()

    def strokes(self, digits: str) -> Iterator[list[Point]]:
        """The strokes of digits in a row, in pixels of the screen."""
        width, height = 0.16 * min(self.sheet["width"], 600), 0.22 * min(self.sheet["width"], 600)
        left, top = self.sheet["x"] + width, self.sheet["y"] + 0.3 * self.sheet["height"]
        for place, digit in enumerate(digits):
            for points in STROKES[digit]:
                yield [(left + (1.6 * place + x) * width, top + y * height) for x, y in rounded(points)]

    def draw(self, digits: str) -> None:
        """Draws with the mouse."""
        for points in self.strokes(digits):
            self.page.mouse.move(*points[0])
            self.page.mouse.down()
            for x, y in points[1:]:
                self.page.mouse.move(x, y)
            self.page.mouse.up()

    def touch(self, digits: str) -> None:
        """Draws with a finger."""
        session = self.context.new_cdp_session(self.page)

        def send(kind: str, *points: Point) -> None:
            touches = [{"x": x, "y": y, "id": 1} for x, y in points]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

        for points in self.strokes(digits):
            send("touchStart", points[0])
            for point in points[1:]:
                send("touchMove", point)
            send("touchEnd")

    def reads(self, *rows: str) -> None:
        """Waits until that is what the page shows; its policy forbids Playwright's own way of waiting."""
        shown = None
        for _ in range(200):
            shown = self.page.evaluate(f"{ROWS}.map(row => row.innerText.replace(/[?\\s]/g, ''))")
            if shown == list(rows):
                return
            time.sleep(0.05)
        raise AssertionError(f"expected {rows}, shown {shown}")

    def boxes(self) -> list[dict[str, float]]:
        return [box.bounding_box() for box in self.page.locator(".box").all()]


def rounded(points: Sequence[Point]) -> list[Point]:
    """Cuts the corners off, twice, as a hand does."""
    for _ in range(2):
        cut = [points[0]]
        for (x0, y0), (x1, y1) in pairwise(points):
            cut += [(0.75 * x0 + 0.25 * x1, 0.75 * y0 + 0.25 * y1), (0.25 * x0 + 0.75 * x1, 0.25 * y0 + 0.75 * y1)]
        points = [*cut, points[-1]]
    return list(points)
