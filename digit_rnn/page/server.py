"""The page's server. Nothing that it receives is written to disk."""

import ipaddress
import json
import re
import socket
import sys
from collections.abc import Iterable
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    LengthRequired,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
)
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from digit_rnn.errors import OptionError, PictureError
from digit_rnn.page.answer import PICTURE_TYPES, Answers
from digit_rnn.reading import DigitReader

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MOST_BYTES = 20_000_000  # of a picture: a phone's photo has up to 12 million
PATIENCE = 30  # seconds for which a client may neither send nor take anything
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?")
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
"""Path → what is sent, and its type."""
HEADERS = {  # the page runs its own script and style, asks its own server, and nothing else
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_page_server(reader: DigitReader, host: str, port: int) -> "PageServer":
    """A server that listens already, and answers once ``serve_forever`` is called.

    Raises:
        OptionError: The address cannot be listened on.
    """
    if not 0 <= port <= 65535:
        raise OptionError(f"--port {port}: expected 0 to 65535")
    try:
        # Werkzeug itself would print several lines where the port is in use.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, backlog=128) as listening:
            return PageServer(reader, host, port, listening)
    except (OSError, UnicodeError) as error:  # the latter of a name that is none
        reason = (getattr(error, "strerror", None) or "no such host").partition(" (")[0]  # Python repeats the address
        raise OptionError(f"cannot listen on {host} port {port}: {reason}; see --host and --port") from error


class Page:
    """Answers requests: ``GET`` with the page, its style and its script, ``POST /read`` with what a picture says.

    All others are answered with an error.

    Args:
        reader: What reads the pictures.
        host: The name by which it was told to listen.
        is_open: Whether others on the network can reach it.
    """

    def __init__(self, reader: DigitReader, host: str, is_open: bool) -> None:
        self.answers = Answers(reader)
        self.is_open = is_open
        own = socket.gethostname().lower()
        self.names = {"localhost", host.lower()} | ({own, f"{own}.local"} if is_open else set())
        folder = files("digit_rnn.page")
        self.files = {path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in FILES.items()}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Called by the server for each request, in a thread of its own."""
        request = Request(environ)
        request.max_content_length = MOST_BYTES
        try:
            response = self._respond(request)
        except HTTPException as error:
            response = _json({"error": error.description}, error.code or 500)
            if isinstance(error, MethodNotAllowed):
                response.headers["Allow"] = ", ".join(error.valid_methods or ())
        except PictureError as error:
            response = _json({"error": f"cannot read the picture: {error}"}, HTTPStatus.UNPROCESSABLE_ENTITY)
        except Exception as error:  # nobody foresaw it; the server goes on
            print(f"error: {type(error).__name__}: {error}"[:300], file=sys.stderr, flush=True)
            response = _json({"error": "the program failed on this picture"}, HTTPStatus.INTERNAL_SERVER_ERROR)
        response.headers.extend(HEADERS)
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        self._check_sender(request)
        if request.path in self.files:
            _check_method(request, "GET", "HEAD")
            content, kind = self.files[request.path]
            return Response(content, mimetype=kind)
        if request.path == "/read":
            _check_method(request, "POST")
            return _json(self.answers.answer(_received(request)))
        raise NotFound(f"there is no {request.path[:100]}")

    def _check_sender(self, request: Request) -> None:
        """Lets only this page ask: no other site that is open in the browser, whatever name it has lead here."""
        host = request.headers.get("Host", "").lower()
        match = HOST.fullmatch(host)
        if not match or not self._is_own(match[1]):
            raise Forbidden("this address is not the page's own")
        if request.headers.get("Origin", f"http://{host}").lower() != f"http://{host}":
            raise Forbidden("only the page itself may ask")

    def _is_own(self, name: str) -> bool:
        """A site can have its own name lead here, but no address."""
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in self.names
        return self.is_open or address.is_loopback


class PageServer(ThreadedWSGIServer):
    """Serves the page on a socket that listens, each request in a thread, and keeps no log."""

    def __init__(self, reader: DigitReader, host: str, port: int, listening: socket.socket) -> None:
        bound = ipaddress.ip_address(listening.getsockname()[0])
        self.page = Page(reader, host, is_open=not bound.is_loopback)
        super().__init__(host, port, self.page, QuietHandler, fd=listening.fileno())
        shown = str(_own_address(bound) if bound.is_unspecified else bound)
        self.address = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says in one line what nobody foresaw."""
        print(f"error: {type(error := sys.exception()).__name__}: {error}"[:300], file=sys.stderr, flush=True)


class QuietHandler(WSGIRequestHandler):
    """Reads one request; those that are none are refused as the page refuses others, and nothing is logged."""

    timeout = PATIENCE

    def run_wsgi(self) -> None:
        """Has the page answer."""
        try:
            super().run_wsgi()
        except ValueError:  # its address cannot be parsed
            self.send_error(HTTPStatus.BAD_REQUEST)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what is no request in one line of JSON."""
        self.request_version = self.protocol_version  # else what is no request gets no status line
        body = _line({"error": HTTPStatus(code).phrase.lower()})
        self.send_response(code)
        for name, value in (
            ("Content-Type", "application/json"),
            ("Content-Length", len(body)),
            ("Connection", "close"),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Without the versions of Python and Werkzeug."""
        return "digit_rnn"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keeps no log."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Keeps no log of errors either."""


def _check_method(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise MethodNotAllowed(methods, f"only {' or '.join(methods)} is possible here")


def _received(request: Request) -> bytes:
    """The picture's bytes."""
    if request.mimetype not in PICTURE_TYPES:
        kinds = ", ".join(kind.removeprefix("image/") for kind in PICTURE_TYPES)
        raise UnsupportedMediaType(f"{request.mimetype[:100] or 'no type'}: expected an image of type {kinds}")
    if request.content_length is None:
        raise LengthRequired("the number of bytes must be given")
    if not (data := request.get_data(cache=False)):
        raise BadRequest("nothing was sent")
    return data


def _json(content: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    return Response(_line(content), status, mimetype="application/json")


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _own_address(unspecified: Any) -> Any:
    """The address by which others on the network reach this machine; nothing is sent to find it."""
    other = "10.255.255.255" if unspecified.version == 4 else "fd00::1"
    family = socket.AF_INET if unspecified.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((other, 9))
        except OSError:
            return "127.0.0.1" if unspecified.version == 4 else "::1"
        return ipaddress.ip_address(probe.getsockname()[0])
