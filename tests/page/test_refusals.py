"""Whom and what the page's server refuses, in one line of JSON."""

import socket
import struct
import time
import zlib

import pytest
from PIL import Image

from digit_rnn.page.server import MOST_BYTES, PageServer, make_page_server
from digit_rnn.reading import DigitReader
from tests.page.helpers import PNG, ask, encoded, read, send_raw

pytestmark = pytest.mark.usefixtures("goes_on")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "//evil.example/", 404),
        ("GET", "/favicon.ico", 404),
        ("GET", "/server.py", 404),
        ("GET", "/read", 405),
        ("OPTIONS", "/read", 405),
        ("PUT", "/read", 405),
        ("TRACE", "/", 405),
        ("POST", "/", 405),
        ("POST", "/page.js", 405),
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
