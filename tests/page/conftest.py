"""The page, served in this process with the trained network."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from digit_rnn.page.server import PageServer, make_page_server
from digit_rnn.reading import DigitReader
from tests.helpers import line
from tests.page.helpers import Mnist, encoded, read


@pytest.fixture(scope="session")
def reader(trained: Path) -> DigitReader:
    return DigitReader(trained / "checkpoints" / "best.ckpt")


@pytest.fixture(scope="session")
def server(reader: DigitReader) -> Iterator[PageServer]:
    """Listens on a free port of 127.0.0.1."""
    server = make_page_server(reader, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()


@pytest.fixture(scope="session")
def slip(mnist: Mnist) -> bytes:
    """A row of three digits."""
    return encoded(line(mnist[0][:3]))


@pytest.fixture
def goes_on(server: PageServer, slip: bytes, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """After each test the server answers as before, and has said nothing."""
    yield
    assert read(server, slip).json["rows"] == ["721"]
    assert capfd.readouterr() == ("", "")
