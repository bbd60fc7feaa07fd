"""The command ``page``."""

from digit_rnn import process
from digit_rnn.errors import StoppedError
from digit_rnn.page.server import make_page_server
from digit_rnn.reading import DigitReader


def serve(ckpt_path: str = "pretrained", host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serves a page in which digits are drawn, photographed or dropped, and shows how the network reads them.

    Args:
        ckpt_path: The trained network: pretrained, which comes with the package, best, last or a file.
        host: Address to listen on; with 0.0.0.0, anyone on the network can use the page.
        port: Port to listen on; 0 takes one that is free.

    Raises:
        OptionError: The address cannot be listened on.
        CheckpointError: The checkpoint cannot be used.
        StoppedError: Ctrl-C or SIGTERM, which end it.
    """
    server = make_page_server(DigitReader(ckpt_path), host, port)
    with process.stoppable():
        process.early_stop.end()
        print(f"open {server.address}", flush=True)
        if server.page.is_open:
            print("anyone on the network can use the page", flush=True)
        server.serve_forever()  # until Ctrl-C
    raise StoppedError("stopped")
