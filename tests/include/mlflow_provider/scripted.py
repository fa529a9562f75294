"""Small HTTP servers: one whose answers a test sets, and what every one of them does."""

import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Answer:
    status: int = 200
    body: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class LocalServer:
    """An HTTP server on a port of this machine; TLS if there is a file with a certificate and its key."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], certificate: Path | None = None) -> None:
        self._http = _Server(("127.0.0.1", 0), handler)
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of connections that wait; the usual 5 would turn some of twenty away


class ScriptedServer(LocalServer):
    """Gives one answer after the other, the last one again and again, and remembers the requests."""

    def __init__(self, answers: list[Answer], certificate: Path | None = None) -> None:
        self.answers = answers
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.stopping = threading.Event()
        self._one_at_a_time = threading.Lock()
        super().__init__(_handler(self), certificate)

    def next(self) -> Answer:
        with self._one_at_a_time:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def stop(self) -> None:
        self.stopping.set()
        super().stop()


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.requests.append((self.command, self.path, dict(self.headers), body))
            answer = server.next()
            server.stopping.wait(answer.seconds)
            with suppress(ConnectionError):  # the client may have given up
                self.write(answer)

        def write(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for header in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(answer.body.encode())

        do_GET = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815 # names that http.server looks for

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
