"""The page's server: what it answers, to many at once and whatever clients do."""

import socket
import struct
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from digit_rnn.finding import find_digits
from digit_rnn.page import answer as answers
from digit_rnn.page.server import PageServer
from digit_rnn.reading import DigitReader
from tests.helpers import line
from tests.page.helpers import Mnist, ask, encoded, read

pytestmark = pytest.mark.usefixtures("goes_on")


def test_answer_is_what_the_reader_reads(server: PageServer, reader: DigitReader, slip: bytes, mnist: Mnist) -> None:
    answer = read(server, slip).json
    expected = reader.read(line(mnist[0][:3]))
    assert answer["rows"] == ["721"]
    assert (answer["width"], answer["height"]) == (390, 200)
    for digit, reading in zip(answer["digits"], expected, strict=True):
        assert tuple(digit["box"]) == reading.box
        assert (digit["row"], digit["position"], digit["digit"]) == (reading.row, reading.position, reading.digit)
        assert digit["confidence"] == pytest.approx(reading.confidence, abs=1e-5)
        assert digit["check"] == reading.check
    found = find_digits(line(mnist[0][:3]))
    for digit, each in zip(answer["digits"], found, strict=True):
        image = np.frombuffer(b64decode(digit["image"]), np.uint8).reshape(28, 28)
        np.testing.assert_allclose(image / 255, each.image, atol=0.003)
        by_row = np.array(digit["probabilities_by_row"])
        assert by_row.shape == (28, 10)
        np.testing.assert_allclose(by_row.sum(axis=1), 1, atol=0.01)
        assert by_row[-1].argmax() == digit["digit"]


def test_rows_of_digits_and_a_limit_to_what_is_explained(
    server: PageServer, mnist: Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_EXPLAINED", 2)
    page = np.concatenate([line(mnist[0][:3]), line(mnist[0][:3])])
    answer = read(server, encoded(page)).json
    assert answer["rows"] == ["721", "721"]
    assert ["image" in digit for digit in answer["digits"]] == [True, True, False, False, False, False]


def test_empty_sheet_holds_no_digit(server: PageServer) -> None:
    answer = read(server, encoded(np.full((100, 200), 255, np.uint8))).json
    assert (answer["rows"], answer["digits"], answer["width"], answer["height"]) == ([], [], 200, 100)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_kinds_of_pictures(server: PageServer, mnist: Mnist, form: str) -> None:
    assert read(server, encoded(line(mnist[0][:3]), form), f"image/{form.lower()}").json["rows"] == ["721"]


def test_sixteen_bits_and_photographs_that_lie(server: PageServer, mnist: Mnist) -> None:
    page = line(mnist[0][:3])
    assert read(server, encoded(page.astype(np.uint16) * 256)).json["rows"] == ["721"]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    answer = read(server, encoded(np.rot90(page).copy(), "JPEG", exif=exif), "image/jpeg").json
    assert (answer["rows"], answer["width"], answer["height"]) == (["721"], 390, 200)


def test_page_and_its_headers(server: PageServer) -> None:
    for path, kind, held in (
        ("/page.css", "text/css", b"#canvas {"),
        ("/page.js", "text/javascript", b'fetch("read"'),
        ("/?from=talk", "text/html", b"<canvas"),
        ("/", "text/html", b"<canvas"),
    ):
        answer = ask(server, "GET", path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert held in answer.body
        body = answer.body.replace(b"http://www.w3.org/2000/svg", b"")
        assert not any(word in body for word in (b"http:", b"https:", b"//www"))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Python" not in answer.headers["Server"]
    head = ask(server, "HEAD", "/")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(answer.body)))


def test_clients_that_leave(server: PageServer, slip: bytes) -> None:
    head = f"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(slip)}\r\n\r\n"
    for sent in (b"", b"POST /re", head.encode(), head.encode() + slip[:100], head.encode() + slip):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(sent)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # with a reset
    time.sleep(0.3)


def test_a_slow_client_holds_up_nobody(server: PageServer, slip: bytes) -> None:
    head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(head)
        assert read(server, slip).status == 200
    finally:
        for connection in slow:
            connection.close()


def test_twenty_at_once(server: PageServer, mnist: Mnist, reader: DigitReader) -> None:
    pages = [line(mnist[0][place : place + 2]) for place in range(20)]
    with ThreadPoolExecutor(20) as pool:
        given = list(pool.map(lambda page: read(server, encoded(page)), pages))
    for answer, page in zip(given, pages, strict=True):
        assert [digit["digit"] for digit in answer.json["digits"]] == [reading.digit for reading in reader.read(page)]


@pytest.mark.parametrize(("period", "size"), [pytest.param(24, 8, marks=pytest.mark.slow), (40, 24)])
def test_texture_of_thousands_of_marks_is_answered(server: PageServer, period: int, size: int) -> None:
    dots = (np.indices((1600, 1600)) % period < size).all(axis=0)
    answer = read(server, encoded(np.where(dots, 0, 255).astype(np.uint8)))
    assert answer.status == 200
    assert all(digit["check"] for digit in answer.json["digits"])


def test_more_than_can_wait(server: PageServer, slip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    while server.page.answers._places.acquire(blocking=False):
        taken += 1
    answer = read(server, slip)
    server.page.answers._places.release(taken)
    assert (taken, answer.status) == (answers.MOST_WAITING, 503)
    assert "try again" in answer.json["error"]


def test_what_nobody_foresaw(
    server: PageServer, slip: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(server.page.answers.reader, "read_digits", fail)
        answer = read(server, slip)
    assert answer.status == 500
    assert "fire" not in answer.json["error"]
    assert capfd.readouterr().err == "error: RuntimeError: the disk is on fire\n"
