"""Servers on loopback: files by ranges, with faults to order; a hub; and an S3 server as a process of its own."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit


@dataclass
class Request:
    """One request, as the server saw and answered it."""

    method: str
    path: str
    query: str
    headers: dict
    began: float
    status: int = 0
    sent: int = 0
    ended: float = 0.0

    @property
    def range(self):
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"]).groups()
        return int(first), int(last) + 1


class FileServer(ThreadingHTTPServer):
    """Serves `files` (bytes under their paths) by ranges, with ETags, and logs what it was asked.

    Attributes:
        files: content under the path.
        faults: under a path, an iterator of functions that answer in place of the server; None answers as usual.
        log: all requests.
    """

    daemon_threads = True

    def __init__(self, files=()):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.faults, self.log = dict(files), {}, []
        self.stamped = True

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_port}"

    def ranges(self, path):
        return [r.range for r in self.log if r.path == path and r.method == "GET"]

    @property
    def sent(self):
        return sum(r.sent for r in self.log)

    def order(self, path, *faults):
        self.faults[path] = iter(faults)

    def always(self, path, fault):
        self.faults[path] = iter(lambda: fault, None)

    def handle_error(self, request, client_address):
        pass  # a client that goes away is what some tests are about

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_seen = Request(self.command, unquote(parts.path), parts.query, headers, time.monotonic())
        self.server.log.append(self.request_seen)
        try:
            self.respond(self.request_seen)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.request_seen.ended = time.monotonic()

    def respond(self, request):
        data = self.server.files.get(request.path)
        fault = next(self.server.faults.get(request.path, iter(())), None)
        if fault is not None:
            fault(self, data)
        elif data is None:
            self.send(404, {}, b"not found")
        else:
            self.by_range(data)

    def marks(self, data):
        return {"ETag": f'"{sha1(data).hexdigest()}"'} if self.server.stamped else {}

    def by_range(self, data):
        marks, headers = self.marks(data), self.request_seen.headers
        if headers.get("if-match", marks.get("ETag")) != marks.get("ETag"):
            self.send(412, {}, b"")
        elif "range" not in headers:
            self.send(200, {**marks, "Accept-Ranges": "bytes"}, data)
        elif self.request_seen.range[0] >= len(data):
            self.send(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
        else:
            start, stop = self.request_seen.range
            self.part(data, start, min(stop, len(data)))

    def part(self, data, start, stop, **more):
        stated = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", **self.marks(data)}
        self.send(206, {**stated, **more}, data[start:stop])

    def send(self, status, headers, body, length=None, cut=None):
        """Send an answer; `length` is what is stated, None of the body, -1 nothing; after `cut` bytes the line goes."""
        self.request_seen.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length == -1:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "HEAD":
            return
        view = memoryview(body)[:cut]
        for first in range(0, len(view), 1 << 16):
            self.request_seen.sent += self.connection.send(view[first : first + (1 << 16)], socket.MSG_WAITALL)
        if cut is not None or length is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


# Faults: each answers one request.


def fine(handler, data):
    handler.by_range(data)


def cut_after(count):
    def fault(handler, data):
        start, stop = handler.request_seen.range
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", **handler.marks(data)}
        handler.send(206, headers, data[start:stop], cut=count)

    return fault


def refused(status, **headers):
    return lambda handler, data: handler.send(status, headers, b"")


def whole(handler, data):
    handler.send(200, {"Accept-Ranges": "bytes"}, data)


def whole_of_unknown_length(handler, data):
    handler.send(200, {}, data, length=-1)


def page(handler, data):
    handler.send(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>please log in</html>")


def of_unknown_total(handler, data):
    start, stop = handler.request_seen.range
    handler.send(206, {"Content-Range": f"bytes {start}-{stop - 1}/*"}, data[start:stop])


def shifted(handler, data):
    start, stop = handler.request_seen.range
    handler.part(data, start + 1, stop + 1)


def fewer(handler, data):
    start, stop = handler.request_seen.range
    headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", **handler.marks(data)}
    handler.send(206, headers, data[start : stop - 1])


def more(handler, data):
    start, stop = handler.request_seen.range
    headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", **handler.marks(data)}
    handler.send(206, headers, data[start : stop + 1])


def packed(handler, data):
    start, stop = handler.request_seen.range
    handler.part(data, start, stop, **{"Content-Encoding": "gzip"})


def silent(seconds):
    def fault(handler, data):
        time.sleep(seconds)
        handler.close_connection = True

    return fault


def slow(seconds):
    def fault(handler, data):
        time.sleep(seconds)
        handler.by_range(data)

    return fault


def moved(url):
    return lambda handler, data: handler.send(302, {"Location": url}, b"")


def replaced(content):
    def fault(handler, data):
        handler.server.files[handler.request_seen.path] = content
        handler.by_range(content)

    return fault


def nonsense(status, headers, body, length):
    return lambda handler, data: handler.send(status, headers, body, length)


@dataclass
class Hub:
    """A hub of one repository: what it holds, and who may read it.

    The files come from a store at another address, as the hubs' large files do.
    """

    store: FileServer
    front: FileServer
    name: str = "org/model"
    commit: str = "c" * 40
    token: str = ""
    gated: bool = False

    def publish(self, files):
        for name, data in files.items():
            self.store.files[f"/store/{self.commit}/{name}"] = data
            self.front.always(f"/{self.name}/resolve/{self.commit}/{name}", self._resolve)
        described = [
            {"rfilename": n, "size": len(d), "blobId": sha1(d).hexdigest(), "lfs": None} for n, d in files.items()
        ]
        for revision in ("main", self.commit):
            self.front.always(f"/api/models/{self.name}/revision/{revision}", self._info(self.commit, described))

    def _allowed(self, handler):
        return not self.token or handler.request_seen.headers.get("authorization") == f"Bearer {self.token}"

    def _info(self, commit, described):
        def answer(handler, data):
            if not self._allowed(handler) and not self.gated:
                handler.send(401, {"X-Error-Code": "RepoNotFound"}, b"{}")
                return
            with_sizes = "blobs" in parse_qs(handler.request_seen.query)
            siblings = described if with_sizes else [{"rfilename": d["rfilename"]} for d in described]
            info = {"id": self.name, "sha": commit, "siblings": siblings, "tags": [], "private": False}
            handler.send(200, {"Content-Type": "application/json"}, json.dumps(info).encode())

        return answer

    def _resolve(self, handler, data):
        if not self._allowed(handler):
            handler.send(403, {"X-Error-Code": "GatedRepo"}, b"")
            return
        commit, _, name = handler.request_seen.path.partition("/resolve/")[2].partition("/")
        target = f"{self.store.base}/store/{commit}/{quote(name)}?Signature=abc"
        handler.send(302, {"Location": target, "ETag": '"of-the-hub"'}, b"")


def put(base, path, data=b""):
    """Send bytes to an S3 server that checks no signatures."""
    credential = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request"
    headers = {"Authorization": credential, "Content-Type": "application/octet-stream"}
    urllib.request.urlopen(urllib.request.Request(f"{base}{path}", data, headers, method="PUT"), timeout=10).close()


@contextmanager
def s3_server():
    """Run moto's S3 server; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{base}/moto-api/", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield base
    finally:
        process.terminate()
        process.wait(10)
