"""Hands a recording to a running `unbraid serve` and saves its stems: python web_client.py talk.wav speech"""

import json
import os
import sys
import urllib.request
import uuid
from pathlib import Path

SERVER = os.environ.get("UNBRAID_SERVER", "http://127.0.0.1:8765")
HEADERS = {"Authorization": f"Bearer {os.environ['UNBRAID_TOKEN']}"} if "UNBRAID_TOKEN" in os.environ else {}


def ask(path, data=None, **headers):
    return urllib.request.urlopen(urllib.request.Request(SERVER + path, data, HEADERS | headers))


def submit(recording, **fields):
    boundary = uuid.uuid4().hex
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{recording.name}"\r\n\r\n'
    body = ("".join(parts) + head).encode() + recording.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    with ask("/api/separations", body, **{"Content-Type": f"multipart/form-data; boundary={boundary}"}) as answer:
        return json.load(answer)


def follow(id):
    """Every state until the end."""
    with ask(f"/api/events?ids={id}") as stream:
        for line in stream:
            if line.startswith(b"data: ["):
                yield json.loads(line[6:])[0]


def separate(recording, model, out):
    found = submit(recording, model=model)
    for now in follow(found["id"]):
        found = now
        print(f"{found['state']} {found['progress']:.0%}", file=sys.stderr)
    if found["state"] != "done":
        sys.exit(found["message"])
    out.mkdir(parents=True, exist_ok=True)
    for stem in found["stems"]:
        path = out / f"{stem['name']}.{found['options']['container']}"
        with ask(stem["url"]) as answer:
            path.write_bytes(answer.read())
        print(path)


if __name__ == "__main__":
    separate(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "speech", Path("stems"))
