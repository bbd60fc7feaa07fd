"""The page's server: what it answers, whom it refuses, and that it goes on after each attack."""

import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from digit_rnn.page import answer as answers
from digit_rnn.page.server import MOST_BYTES, PageServer, make_page_server
from digit_rnn.reading import DigitReader
from tests.conftest import Command
from tests.helpers import assert_refused, line

Mnist = tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]

PNG = {"Content-Type": "image/png"}


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        assert self.headers["Content-Type"] == "application/json"
        assert self.body.count(b"\n") == 1
        content: dict[str, Any] = json.loads(self.body)
        return content


def ask(server: PageServer, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def send_raw(server: PageServer, request: bytes) -> Answer:
    """What no client would send."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    headers = HTTPMessage()
    for each in head.split(b"\r\n")[1:]:
        name, _, value = each.decode().partition(": ")
        headers[name] = value
    return Answer(int(head.split()[1]), headers, body)


def read(server: PageServer, picture: bytes, kind: str = "image/png") -> Answer:
    return ask(server, "POST", "/read", picture, Content_Type=kind)


def encoded(picture: Any, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def slip(mnist: Mnist) -> bytes:
    """A row of three digits."""
    return encoded(line(mnist[0][:3]))


@pytest.fixture(autouse=True)
def _goes_on(server: PageServer, slip: bytes, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """After each test the server answers as before, and has said nothing."""
    yield
    assert read(server, slip).json["rows"] == ["721"]
    assert capfd.readouterr() == ("", "")


def test_answer_is_what_the_reader_reads(server: PageServer, reader: DigitReader, slip: bytes, mnist: Mnist) -> None:
    answer = read(server, slip).json
    expected = reader.read(line(mnist[0][:3]))
    assert answer["rows"] == ["721"]
    assert (answer["width"], answer["height"]) == (390, 200)
    assert 0 < answer["seconds"] < 30
    for digit, reading in zip(answer["digits"], expected, strict=True):
        assert tuple(digit["box"]) == reading.box
        assert (digit["row"], digit["position"], digit["digit"]) == (reading.row, reading.position, reading.digit)
        assert digit["confidence"] == pytest.approx(reading.confidence, abs=1e-5)
        assert digit["check"] == reading.check
    found = reader.find(line(mnist[0][:3]))
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
    for path in ("/", "/?from=talk"):
        answer = ask(server, "GET", path)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert b"<canvas" in answer.body
    assert not any(
        word in answer.body.replace(b"http://www.w3.org/2000/svg", b"") for word in (b"http:", b"https:", b"//www")
    )
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Python" not in answer.headers["Server"]
    head = ask(server, "HEAD", "/")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(answer.body)))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "//evil.example/", 404),
        ("GET", "/favicon.ico", 404),
        ("GET", "/read", 405),
        ("OPTIONS", "/read", 405),
        ("PUT", "/read", 405),
        ("TRACE", "/", 405),
        ("POST", "/", 405),
    ],
)
def test_paths_and_methods_that_are_none(server: PageServer, method: str, path: str, status: int) -> None:
    answer = ask(server, method, path)
    assert answer.status == status
    assert answer.json["error"]
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "0.0.0.0", "10.0.0.1:8000", "", "localhost@evil",
     "localhost:8000,evil.example", "user@127.0.0.1", "[::1", "localhost:x", "localhost.evil", "\xe9vil"],
)  # fmt: skip
def test_foreign_host(server: PageServer, slip: bytes, host: str) -> None:
    for answer in (ask(server, "GET", "/", Host=host), ask(server, "POST", "/read", slip, Host=host, **PNG)):
        assert answer.status == 403
        assert answer.json["error"] == "this address is not the page's own"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "https://localhost:8000", "http://localhost:9000"]
)
def test_foreign_origin(server: PageServer, slip: bytes, origin: str) -> None:
    answer = ask(server, "POST", "/read", slip, Host="localhost:8000", Origin=origin, **PNG)
    assert answer.status == 403
    assert "only the page itself" in answer.json["error"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:9000", "[::1]:8000", "127.0.0.2"])
def test_own_names_and_the_other_end_of_a_tunnel(server: PageServer, slip: bytes, host: str) -> None:
    answer = ask(server, "POST", "/read", slip, Host=host, Origin=f"http://{host.lower()}", **PNG)
    assert answer.json["rows"] == ["721"]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("image/svg+xml", b"<svg/>", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("", b"x", 415),
        ("image/png", b"", 400),
        ("image/png", b"no picture", 422),
        ("image/png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 422),
        ("image/png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422),
        ("image/png", b"\x89PNG\r\n\x1a\n", 422),
    ],
)
def test_what_is_no_picture(server: PageServer, kind: str, body: bytes, status: int) -> None:
    answer = read(server, body, kind)
    assert answer.status == status
    assert answer.json["error"]


def test_damaged_and_moving_pictures(server: PageServer, slip: bytes) -> None:
    for picture in (slip[:-60], slip[:40], slip[:60] + b"\0" * 60 + slip[120:]):
        assert read(server, picture).status == 422
    frames = [Image.new("L", (20, 20), shade) for shade in (0, 255, 0)]
    answer = read(server, encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "image/gif")
    assert (answer.status, answer.json["error"]) == (422, "cannot read the picture: has 3 pages")


def test_picture_that_would_unfold_to_gigabytes(server: PageServer) -> None:
    start = time.monotonic()
    for side in (9_000, 60_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
        chunk = b"IHDR" + header
        body = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        body += struct.pack(">I", 4) + b"IDAT" + bytes(4) + struct.pack(">I", zlib.crc32(b"IDAT" + bytes(4)))
        answer = read(server, body)
        assert answer.status == 413
        assert answer.json["error"] == "the picture has more than 50 million pixels"
    assert time.monotonic() - start < 5


def test_too_many_bytes(server: PageServer) -> None:
    answer = read(server, bytes(MOST_BYTES + 1))
    assert answer.status == 413
    assert answer.json["error"]


def test_length_that_is_missing_or_wrong(server: PageServer, slip: bytes) -> None:
    start = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(slip), slip)
    for headers, body in (
        (b"", slip),
        (b"Transfer-Encoding: chunked\r\n", chunked),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n", chunked),
    ):
        answer = send_raw(server, start + headers + b"\r\n" + body)
        assert answer.status == 411
        assert answer.json["error"] == "the number of bytes must be given"
    for length, status in ((b"99999999999999", 413), (b"5000000", 400), (b"many", 400), (b"-5", 400), (b"0", 400)):
        answer = send_raw(server, start + b"Content-Length: " + length + b"\r\n\r\n" + slip)
        assert answer.status == status
        assert answer.json["error"]


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b'GET / "HTTP/9\r\n\r\n', 400),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
        (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        (b"GET / HTTP/1.0\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /\xff\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    ],
)
def test_what_is_no_request(server: PageServer, request_line: bytes, status: int) -> None:
    answer = send_raw(server, request_line)
    assert answer.status == status
    assert answer.json["error"]


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
        patch.setattr(server.page.answers.reader, "find", fail)
        answer = read(server, slip)
    assert answer.status == 500
    assert "fire" not in answer.json["error"]
    assert capfd.readouterr().err == "error: RuntimeError: the disk is on fire\n"


def test_on_the_network_addresses_are_let_in_and_foreign_names_are_not(reader: DigitReader) -> None:
    server = make_page_server(reader, "0.0.0.0", 0)
    try:
        page = server.page
        assert page.is_open
        assert "0.0.0.0" not in server.address
        for name in ("192.168.1.5", "localhost", "[fe80::1]", socket.gethostname().lower()):
            assert page._is_own(name)
        assert not page._is_own("evil.example")
    finally:
        server.server_close()


def start(folder: Path, trained: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "digit_rnn", "page", f"--ckpt_path={trained}/checkpoints/best.ckpt", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize(("number", "host"), [(signal.SIGINT, "127.0.0.1"), (signal.SIGTERM, "0.0.0.0")])
def test_command(number: signal.Signals, host: str, tmp_path: Path, trained: Path, slip: bytes) -> None:
    """It prints its address, answers, writes nothing, and ends with one line."""
    (tmp_path / "tmp").mkdir()
    process = start(tmp_path, trained, "--port=0", f"--host={host}")
    assert process.stdout
    first = process.stdout.readline()
    assert first.startswith("open http://")
    if host == "0.0.0.0":
        assert process.stdout.readline() == "anyone on the network can use the page\n"
    connection = HTTPConnection("127.0.0.1", int(first.rstrip("/\n").rpartition(":")[2]), timeout=30)
    connection.request("POST", "/read", slip, PNG)
    assert json.loads(connection.getresponse().read())["rows"] == ["721"]
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "error: stopped\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]


def test_mistakes(command: Command, tmp_path: Path, trained: Path, server: PageServer) -> None:
    checkpoint = f"--ckpt_path={trained}/checkpoints/best.ckpt"
    for words, fragments in (
        ([checkpoint, f"--port={server.port}"], ["in use", str(server.port), "--port"]),
        ([checkpoint, "--port=70000"], ["70000"]),
        ([checkpoint, "--port=x"], ["--port", "int", "x"]),
        ([checkpoint, "--host=256.1.1.1"], ["256.1.1.1"]),
        (["--ckpt_path=missing.ckpt"], ["missing.ckpt"]),
        (["--prot=1"], ["--prot"]),
    ):
        assert_refused(command("page", *words), tmp_path, set(), *fragments)


def test_help(command: Command) -> None:
    result = command("page", "--help")
    assert (result.status, result.err) == (0, "")
    assert all(word in " ".join(result.out.split()) for word in ("--ckpt_path", "--host", "--port", "on the network"))
    assert "python -m digit_rnn page" in command("--help").out


def test_nothing_of_the_page_is_imported_by_others(tmp_path: Path) -> None:
    text = (
        "import sys, digit_rnn.cli; assert not [n for n in sys.modules if n.startswith(('werkzeug', 'digit_rnn.page'))]"
    )
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path, check=True)
