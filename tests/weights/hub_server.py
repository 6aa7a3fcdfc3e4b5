"""A stand-in of the Hugging Face hub on 127.0.0.1, with faults that can be switched on."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories as {owner/name: {path: content}}."""

    def __init__(self):
        self.repositories, self.requests, self.ranges = {}, [], []
        self.answer, self.redirect, self.shifted = None, None, 0
        self.status, self.cut_after, self.truncate, self.tampered, self.missing = None, None, 0, {}, set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def downloads(self):
        return [path for method, path in self.requests if method == "GET" and "/resolve/" in path]


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, *, body):
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path))
            if hub.answer is not None:
                self.reply(200, hub.answer, body=body)
            elif hub.redirect is not None:
                self.reply(302, b"", {"Location": hub.redirect}, body=body)
            elif hub.status is not None:
                self.reply(hub.status, b"{}", body=body)
            elif path.startswith("/api/models/"):
                self.list_files("/".join(path.split("/")[3:5]), body)
            elif path.startswith("/api/"):
                self.reply(404, b"{}", body=body)
            else:
                self.send_file(path, body)

        def reply(self, status, content, headers=None, *, body=True):
            self.send_response(status)
            for name, value in {"Content-Length": len(content), **(headers or {})}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def list_files(self, name, body):
            if name not in hub.repositories:
                self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
                return
            siblings = [
                {
                    "rfilename": path,
                    "size": len(content),
                    "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
                    **({"lfs": _lfs(content)} if len(content) > 1000 else {}),
                }
                for path, content in hub.repositories[name].items()
            ]
            answer = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "private": False}
            self.reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body=body)

        def send_file(self, path, body):
            owner, name, _, _, *rest = path.strip("/").split("/")
            inner = "/".join(rest)
            content = hub.repositories[f"{owner}/{name}"].get(inner)
            if content is None or inner in hub.missing:
                self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, body=body)
                return
            headers = {
                "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Repo-Commit": COMMIT,
                "Accept-Ranges": "bytes",
            }
            content = hub.tampered.get(inner, content)
            start, status = 0, 200
            if wanted := self.headers.get("Range"):
                start, status = int(wanted.removeprefix("bytes=").split("-")[0]), 206
                hub.ranges.append(start)
                start, hub.shifted = start + hub.shifted, 0
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            piece = content[start:]
            self.send_response(status)
            for header, value in {**headers, "Content-Length": len(piece)}.items():
                self.send_header(header, str(value))
            self.end_headers()
            if not body:
                return
            cut = None
            if hub.cut_after is not None and len(piece) > hub.cut_after:
                cut, hub.cut_after = hub.cut_after, None
            if hub.truncate:
                cut = max(0, len(content) - hub.truncate - start)
            self.wfile.write(piece[:cut])
            if cut is not None:
                self.close_connection = True

    return Handler


def _lfs(content):
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
