"""A small Google Cloud Storage: the XML API for objects of one bucket, in memory, on loopback.

gcs.py PORT. It answers as the real one does where it matters to a backup: generations and
`x-goog-if-generation-match: 0` (of racing writers one wins), ranges, paged listings in the order of
names, uploads in parts, errors as XML. It takes any bearer token but `wrong`, and no request without one.
"""

import base64
import email.utils
import hashlib
import re
import sys
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from xml.sax.saxutils import escape

BUCKET = "cistern-test"
PAGE = 1000


class Object(NamedTuple):
    body: bytes
    generation: int
    written: float

    def headers(self) -> dict[str, str]:
        return {
            "ETag": f'"{hashlib.md5(self.body).hexdigest()}"',
            "Last-Modified": email.utils.formatdate(self.written, usegmt=True),
            "x-goog-generation": str(self.generation),
        }


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str):
        super().__init__(code)
        self.status = status
        self.body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"


LOCK = threading.Lock()
OBJECTS: dict[str, Object] = {}
UPLOADS: dict[str, tuple[str, dict[int, bytes]]] = {}
PART_MIN = 5 << 20
GENERATION = 0


def put(name: str, body: bytes, generation_match: str | None) -> Object:
    global GENERATION
    with LOCK:
        there = OBJECTS.get(name)
        if generation_match is not None and int(generation_match) != (there.generation if there else 0):
            raise Refusal(412, "PreconditionFailed", "At least one of the pre-conditions did not hold.")
        GENERATION += 1
        OBJECTS[name] = Object(body, GENERATION, time.time())
        return OBJECTS[name]


def find(name: str) -> Object:
    with LOCK:
        if name not in OBJECTS:
            raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
        return OBJECTS[name]


def begin_upload(name: str) -> str:
    with LOCK:
        upload = uuid.uuid4().hex
        UPLOADS[upload] = (name, {})
        return upload


def parts_of(upload: str, name: str) -> dict[int, bytes]:
    with LOCK:
        there, parts = UPLOADS.get(upload, ("", {}))
        if there != name:
            raise Refusal(404, "NoSuchUpload", "The requested upload was not found.")
        return parts


def complete_upload(upload: str, name: str, body: bytes) -> Object:
    parts = parts_of(upload, name)
    numbers = [int(n) for n in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
    if not numbers or numbers != sorted(numbers) or any(n not in parts for n in numbers):
        raise Refusal(400, "InvalidPart", "A part is missing or out of order.")
    if any(len(parts[n]) < PART_MIN for n in numbers[:-1]):
        raise Refusal(400, "EntityTooSmall", "A part but the last is smaller than 5 MiB.")
    with LOCK:
        UPLOADS.pop(upload, None)
    return put(name, b"".join(parts[n] for n in numbers), None)


def listing(query: dict[str, str]) -> str:
    prefix = query.get("prefix", "")
    token = query.get("continuation-token", "")
    after = base64.b64decode(token).decode() if token else query.get("start-after", "")
    with LOCK:
        names = sorted(name for name in OBJECTS if name.startswith(prefix) and name > after)
        page = [(name, OBJECTS[name]) for name in names[:PAGE]]
    more = len(names) > PAGE
    xml = [f"<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>{str(more).lower()}</IsTruncated>"]
    if more:
        xml.append(f"<NextContinuationToken>{base64.b64encode(page[-1][0].encode()).decode()}</NextContinuationToken>")
    for name, there in page:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(there.written))
        xml.append(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(there.body)}</Size>"
            f"<LastModified>{stamp}</LastModified><ETag>{there.headers()['ETag']}</ETag></Contents>"
        )
    return "".join(xml) + "</ListBucketResult>"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/octet-stream", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            url = urllib.parse.urlsplit(self.path)
            bucket, _, name = urllib.parse.unquote(url.path.lstrip("/")).partition("/")
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if token in ("", "wrong"):
                raise Refusal(401, "AuthenticationRequired", "Authentication required.")
            if bucket != BUCKET:
                raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist.")
            self.serve(name, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True)), body)
        except Refusal as refusal:
            self.answer(refusal.status, refusal.body.encode(), {"Content-Type": "application/xml"})

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request

    def serve(self, name: str, query: dict[str, str], body: bytes) -> None:
        if name and ("uploads" in query or "uploadId" in query):
            self.upload(name, query, body)
        elif self.command == "PUT":
            there = put(name, body, self.headers.get("x-goog-if-generation-match"))
            self.answer(200, b"", there.headers())
        elif self.command == "DELETE":
            find(name)
            with LOCK:
                OBJECTS.pop(name, None)
            self.answer(204, b"", {})
        elif not name and "uploads" in query:
            with LOCK:
                names = [there for there, _ in UPLOADS.values() if there.startswith(query.get("prefix", ""))]
            keys = "".join(f"<Upload><Key>{escape(there)}</Key></Upload>" for there in names)
            xml = f"<ListMultipartUploadsResult>{keys}</ListMultipartUploadsResult>"
            self.answer(200, xml.encode(), {"Content-Type": "application/xml"})
        elif not name:
            self.answer(200, listing(query).encode(), {"Content-Type": "application/xml"})
        else:
            self.read(find(name))

    def upload(self, name: str, query: dict[str, str], body: bytes) -> None:
        if self.command == "POST" and "uploads" in query:
            xml = f"<InitiateMultipartUploadResult><UploadId>{begin_upload(name)}</UploadId></InitiateMultipartUploadResult>"
            self.answer(200, xml.encode(), {"Content-Type": "application/xml"})
            return
        upload = query["uploadId"]
        if self.command == "POST":
            there = complete_upload(upload, name, body)
            tag = escape(there.headers()["ETag"])
            xml = f"<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"
            self.answer(200, xml.encode(), {"Content-Type": "application/xml", **there.headers()})
        elif self.command == "PUT":
            parts_of(upload, name)[int(query["partNumber"])] = body
            self.answer(200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        else:
            parts_of(upload, name)
            with LOCK:
                UPLOADS.pop(upload, None)
            self.answer(204, b"", {})

    def read(self, there: Object) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not asked:
            self.answer(200, there.body, there.headers())
            return
        start, end = int(asked[1]), min(int(asked[2]) + 1, len(there.body))
        if start >= len(there.body):
            raise Refusal(416, "InvalidRange", "The requested range cannot be satisfied.")
        span = {"Content-Range": f"bytes {start}-{end - 1}/{len(there.body)}"}
        self.answer(206, there.body[start:end], {**there.headers(), **span})

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
