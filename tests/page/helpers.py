"""Requests to the page's server, and pictures as bytes."""

import io
import json
import socket
from http.client import HTTPConnection, HTTPMessage
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from digit_rnn.page.server import PageServer

Mnist = tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]

PNG = {"Content_Type": "image/png"}


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
