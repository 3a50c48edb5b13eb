"""A Prefect server that says that it is busy is asked again soon, and not for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect import __version__
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from ignition_ext.errors import ProtocolViolation
from ignition_ext.orchestration.client import BUSY_PAUSES, prefect_client


class BusyServer(ThreadingHTTPServer):
    """Answers as Prefect's API does once it was asked ``busy`` times."""

    def __init__(self, busy: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.busy, self.asked = busy, 0


class _Handler(BaseHTTPRequestHandler):
    server: BusyServer

    def do_GET(self) -> None:
        self.server.asked += 1
        is_busy = self.server.asked <= self.server.busy
        body = f'"{__version__}"'.encode()
        self.send_response(503 if is_busy else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def busy(request: pytest.FixtureRequest) -> Iterator[BusyServer]:
    with BusyServer(request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/api"
        with temporary_settings({PREFECT_API_URL: address}):
            yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("busy", [0, 1, len(BUSY_PAUSES)], indirect=True)
async def test_a_busy_server_is_asked_until_it_answers(busy: BusyServer) -> None:
    async with prefect_client() as client:
        assert busy.asked == busy.busy + 1
        assert await client.api_version() == __version__


@pytest.mark.parametrize("busy", [99], indirect=True)
async def test_one_that_stays_busy_is_given_up(busy: BusyServer) -> None:
    """After as many times as Prefect's settings say."""
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 2}),
        pytest.raises(ProtocolViolation, match="503"),
    ):
        async with prefect_client():
            pass
    assert busy.asked == 3
