"""A small HTTP server on loopback that does what an endpoint should not: it plays one act for each request."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Act = Callable[["Handler"], None]
SILENCE = 5.0


class Faulty:
    """Plays ``acts`` in turn, the last one for ever; keeps every request with its time and headers."""

    def __init__(self, *acts: Act) -> None:
        self.acts, self.requests, self.lock = list(acts), list[dict[str, Any]](), threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.faulty = self
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def next(self, request: dict[str, Any]) -> Act:
        with self.lock:
            self.requests.append(request)
            return self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked: str = body["messages"][-1]["content"]
        faulty: Faulty = self.server.faulty
        headers = {name.lower(): value for name, value in self.headers.items()}
        faulty.next({"at": time.monotonic(), "body": body, "headers": headers})(self)

    def send(
        self, code: int, body: str, kind: str = "application/json", length: int | None = None, **more: str
    ) -> None:
        data = body.encode()
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data) if length is None else length))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *words: Any) -> None:
        pass


def completion(content: str | None, finish: str = "stop") -> str:
    message = {"role": "assistant", "content": content}
    return json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
    )


def verdict(said: str, why: str = "because") -> Act:
    """A good answer."""
    return says(json.dumps({"why": why, "verdict": said}))


def says(content: str | None, finish: str = "stop") -> Act:
    """A good envelope around any text."""
    return lambda handler: handler.send(200, completion(content, finish))


def error(code: int, message: str = "out of order", **headers: str) -> Act:
    return lambda handler: handler.send(code, json.dumps({"error": {"message": message}}), **headers)


def garbage(handler: Handler) -> None:
    handler.send(200, "<html>502 or so</html>", "text/html")


def garbage_json(handler: Handler) -> None:
    handler.send(200, '{"surprise": tru')


def no_choices(handler: Handler) -> None:
    handler.send(200, '{"object": "chat.completion", "choices": []}')


def half(handler: Handler) -> None:
    """Half an answer, then the connection is cut."""
    body = completion('{"why": "x", "verdict": "yes"}')
    handler.send(200, body[: len(body) // 2], length=len(body))
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def nothing(handler: Handler) -> None:
    """No answer within any patience that a test has."""
    time.sleep(SILENCE)


def hang_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@contextmanager
def faulty(*acts: Act) -> Iterator[Faulty]:
    one = Faulty(*acts)
    thread = threading.Thread(target=one.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.server.shutdown()
        one.server.server_close()
