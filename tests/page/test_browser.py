"""The page in a real browser: drawn on with mouse and fingers, given photos, on a desk's screen and a phone's."""

import base64
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from digit_rnn.page.server import PageServer
from tests.helpers import line
from tests.page.helpers import Mnist
from tests.page.visitor import ARGUMENTS, Visitor

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Playwright's own pipes
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, server: PageServer) -> Iterator[Callable[..., Visitor]]:
    """Opens the page; in the end nothing was asked elsewhere, nothing complained of, and nothing scrolls sideways."""
    visitors: list[Visitor] = []

    def visit(screen: str = "desk", **options: Any) -> Visitor:
        visitors.append(Visitor(browser, server.address, screen, **options))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        assert all(url.startswith(server.address) for url in visitor.asked if not url.startswith("data:"))
        assert visitor.complaints == []
        assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        visitor.context.close()


@pytest.fixture(scope="module")
def photo(mnist: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A row of three digits as a file."""
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    Image.fromarray(line(mnist[0][:3])).save(path)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["desk", "phone"])
@pytest.mark.parametrize("digits", ["7", "42"])
def test_draws_with_mouse_or_finger(
    visit: Callable[..., Visitor], digits: str, screen: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    visitor = visit(screen, color_scheme=scheme)
    (visitor.touch if screen == "phone" else visitor.draw)(digits)
    visitor.reads(digits)
    boxes = visitor.boxes()
    strokes = [[point for points in visitor.strokes(digits[: i + 1]) for point in points] for i in range(len(digits))]
    seen = 0
    for box, points in zip(boxes, strokes, strict=True):
        xs, ys = np.array(points[seen:]).T
        seen = len(points)
        sides = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
        np.testing.assert_allclose(sides, (xs.min(), ys.min(), xs.max(), ys.max()), atol=20)  # a pen's width and margin
    assert visitor.page.locator(".card").count() == len(digits)
    assert visitor.page.locator(".card canvas").count() == 2 * len(digits)


def test_what_the_network_sees_stands_row_by_row_beside_what_it_believes(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    visitor.draw("7")
    visitor.reads("7")
    seen, heat = (visitor.page.locator(name).bounding_box() for name in (".seen", ".heat"))
    assert (seen["y"], seen["height"]) == (heat["y"], heat["height"])
    visitor.page.locator("#row").focus()
    visitor.page.keyboard.press("ArrowLeft")
    assert visitor.page.inner_text("#row-text") == "27 of 28 rows"
    assert "after row 27:" in visitor.page.inner_text(".card")
    visitor.page.click("#play")
    assert visitor.page.inner_text("#play") == "Stop"


def test_uploads_pastes_and_drops_a_photo(visit: Callable[..., Visitor], photo: Path) -> None:
    content = base64.b64encode(photo.read_bytes()).decode()
    give = """([content, kind]) => {
      const data = new DataTransfer(), bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
      data.items.add(new File([bytes], "photo.jpg", {type: "image/jpeg"}));
      const options = {bubbles: true, cancelable: true, clipboardData: data, dataTransfer: data};
      const sheet = document.getElementById("canvas");
      sheet.dispatchEvent(kind === "paste" ? new ClipboardEvent("paste", options) : new DragEvent("drop", options));
    }"""
    for kind in ("upload", "paste", "drop"):
        for screen in ("desk", "phone"):
            visitor = visit(screen)
            if kind == "upload":
                with visitor.page.expect_file_chooser() as chooser:
                    visitor.page.click("#open")
                chooser.value.set_files(photo)
            else:
                visitor.page.evaluate(give, [content, kind])
            visitor.reads("721")
            sheet = visitor.page.locator("#sheet").bounding_box()
            for place, box in enumerate(visitor.boxes()):
                middle = (box["x"] + box["width"] / 2 - sheet["x"]) / sheet["width"] * 390
                assert middle == pytest.approx(70 + 110 * place, abs=20)


def test_a_photo_can_be_written_on(visit: Callable[..., Visitor], photo: Path) -> None:
    visitor = visit()
    visitor.page.set_input_files("#file", photo)
    visitor.reads("721")
    visitor.page.click("#undo")
    visitor.reads()
    visitor.page.set_input_files("#file", photo)
    visitor.reads("721")
    sheet = visitor.page.locator("#sheet").bounding_box()
    visitor.sheet = {**sheet, "x": sheet["x"] + 0.83 * sheet["width"], "width": 500}
    visitor.draw("7")
    visitor.reads("7217")


def test_what_is_no_picture(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    (tmp_path / "letter.png").write_text("no picture")
    visitor = visit()
    visitor.page.set_input_files("#file", tmp_path / "letter.png")
    visitor.page.locator("#summary.error").wait_for()
    assert visitor.page.inner_text("#summary").startswith("cannot show letter.png")
    visitor.draw("7")
    visitor.reads("7")


def test_undoes_and_clears(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    assert visitor.page.is_disabled("#undo")
    assert visitor.page.is_disabled("#clear")
    visitor.draw("42")
    visitor.reads("42")
    visitor.page.click("#undo")
    visitor.reads("4")
    visitor.draw("42")
    visitor.page.click("#clear")
    visitor.reads()
    assert visitor.boxes() == []
    assert visitor.page.is_visible("#hint")
    visitor.page.keyboard.press("Control+z")  # what was cleared by mistake
    visitor.reads("42")


def test_an_empty_sheet_asks_nothing(visit: Callable[..., Visitor], server: PageServer) -> None:
    visitor = visit()
    visitor.draw("7")
    visitor.page.click("#undo")
    time.sleep(0.5)
    own = [f"{server.address}{name}" for name in ("", "page.css", "page.js")]
    assert sorted(url for url in visitor.asked if not url.startswith("data:")) == own


def test_a_server_that_is_gone_is_named(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    visitor.context.set_offline(True)
    visitor.draw("7")
    visitor.page.locator("#summary.error").wait_for()
    assert "is the program still running?" in visitor.page.inner_text("#summary")
    visitor.complaints.clear()


def test_keyboard_and_labels(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    visitor.draw("7")
    visitor.reads("7")
    reached = []
    for _ in range(5):
        visitor.page.keyboard.press("Tab")
        reached.append(visitor.page.evaluate("document.activeElement.id"))
    assert reached == ["undo", "clear", "open", "play", "row"]
    unnamed = (
        "[...document.querySelectorAll('button, input, [role=img]')].filter(e => !e.ariaLabel && !e.innerText.trim())"
    )
    assert visitor.page.evaluate(f"{unnamed}.length") == 0
    assert visitor.page.get_attribute("#result", "role") == "status"
