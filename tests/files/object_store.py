"""A small object store that speaks S3, in a thread of the test that uses it.

It knows objects, listings, ranges, uploads in parts, and writes under a condition. Signatures are
not checked. Tests inject faults.
"""

import base64
import hashlib
import itertools
import re
import threading
import zlib
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass
class Stored:
    """An object, and the time at which it was written [s since 1970]."""

    content: bytes
    written: float = 1.7e9

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'


@dataclass
class FailureError(Exception):
    """An answer that is an error."""

    status: int
    code: str
    condition: str = ""


@dataclass
class ObjectStore:
    """Content of the store, and the faults of the requests to come."""

    buckets: dict[str, dict[str, Stored]] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    """Buckets to which all access is denied."""
    write_faults: list[str] = field(default_factory=list)
    """Of the next requests that write an object: "busy" before, "lost" after it, "cut" within its
    content, or "none"."""
    read_faults: list[str] = field(default_factory=list)
    """Of the next requests that read an object: "busy", "cut" after half of it, or "none"."""
    names_conditions: bool = True
    """True if a refusal names the condition that did not hold, as that of Amazon does."""
    page: int = 1000
    """Entries of an answer that lists."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each request."""
    url: str = ""

    def __post_init__(self) -> None:
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.store = self  # type: ignore[attr-defined]  # for the handlers
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def names(self, bucket: str) -> list[str]:
        return sorted(self.buckets[bucket])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_HEAD(self) -> None:
        self._serve(self._get)

    def do_PUT(self) -> None:
        self._serve(self._put)

    def do_POST(self) -> None:
        self._serve(self._post)

    def do_DELETE(self) -> None:
        self._serve(self._delete)

    @property
    def _store(self) -> ObjectStore:
        store: ObjectStore = self.server.store  # type: ignore[attr-defined]  # set by the store
        return store

    def _serve(self, answer: Any) -> None:
        parts = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        self.bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        self.key = key
        self._store.requests.append(f"{self.command} {unquote(parts.path)}")
        writes = bool(key) and (self.command == "PUT" or "uploadId" in self.query)
        faults = self._store.write_faults if writes else self._store.read_faults
        fault = faults.pop(0) if faults and key and self.command != "HEAD" else "none"
        if fault == "cut" and writes:
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            self._hang_up()
            return
        body = self._body()
        try:
            if fault == "busy":
                raise FailureError(503, "SlowDown")
            with self._store.lock:
                if self.bucket in self._store.forbidden:
                    raise FailureError(403, "AccessDenied")
                if self.bucket not in self._store.buckets and self.command != "PUT":
                    raise FailureError(404, "NoSuchBucket")
                status, headers, content = answer(body)
        except FailureError as failure:
            text = f"<Error><Code>{failure.code}</Code><Message>{failure.code}</Message>"
            if failure.condition and self._store.names_conditions:
                text += f"<Condition>{failure.condition}</Condition>"
            text += "</Error>"
            status, headers, content = failure.status, {}, text.encode()
        if fault == "lost":
            self._hang_up()
            return
        self.send_response(status)
        headers = {"Content-Length": str(len(content)), "x-amz-request-id": "1"} | headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self._hang_up()
            return
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            chunks, rest = [], body
            while rest:
                line, _, rest = rest.partition(b"\r\n")
                size = int(line.partition(b";")[0] or b"0", 16)
                if not size:
                    break
                chunks.append(rest[:size])
                rest = rest[size + 2 :]
            body = b"".join(chunks)
        stated = self.headers.get("x-amz-checksum-crc32")
        if stated is not None and base64.b64decode(stated) != zlib.crc32(body).to_bytes(4, "big"):
            body = b""
            self.headers.add_header("x-damaged", "1")
        return body

    # ---- operations, each of which returns status, headers and content

    def _object(self) -> Stored:
        try:
            return self._store.buckets[self.bucket][self.key]
        except KeyError:
            raise FailureError(404, "NoSuchKey") from None

    def _get(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if not self.key:
            return self._listed() if self.command == "GET" else (200, {}, b"")
        found = self._object()
        headers = {
            "ETag": found.etag,
            "Last-Modified": formatdate(found.written, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        content, status = found.content, 200
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked:
            n = len(content)
            first = int(asked[1]) if asked[1] else max(0, n - int(asked[2]))
            last = min(n - 1, int(asked[2])) if asked[1] and asked[2] else n - 1
            if first >= n:
                raise FailureError(416, "InvalidRange")
            content, status = content[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{last}/{n}"
        if self.command == "HEAD":
            headers["Content-Length"] = str(len(content))
        return status, headers, content

    def _listed(self) -> tuple[int, dict[str, str], bytes]:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = self.query.get("continuation-token", "")
        is_url = self.query.get("encoding-type") == "url"
        encode, kind = (quote, "<EncodingType>url</EncodingType>") if is_url else (escape, "")
        entries: dict[str, str] = {}
        for key in self._store.names(self.bucket):
            if not key.startswith(prefix):
                continue
            inner = key[len(prefix) :]
            if delimiter and delimiter in inner:
                common = prefix + inner.partition(delimiter)[0] + delimiter
                text = f"<Prefix>{encode(common)}</Prefix>"
                entries[common] = f"<CommonPrefixes>{text}</CommonPrefixes>"
                continue
            found = self._store.buckets[self.bucket][key]
            entries[key] = (
                f"<Contents><Key>{encode(key)}</Key><Size>{len(found.content)}</Size>"
                f"<LastModified>2023-11-14T22:13:20.000Z</LastModified>"
                f"<ETag>{escape(found.etag)}</ETag><StorageClass>STANDARD</StorageClass></Contents>"
            )
        left = [name for name in entries if name > after]
        n = min(self._store.page, int(self.query.get("max-keys") or 1000))
        shown = left[:n]
        more = len(left) > n
        token = (
            f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        )
        return _xml(
            "ListBucketResult",
            f"<Name>{self.bucket}</Name><Prefix>{encode(prefix)}</Prefix>{kind}"
            f"<KeyCount>{len(shown)}</KeyCount><MaxKeys>{n}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
            + "".join(entries[name] for name in shown),
        )

    def _put(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if not self.key:
            self._store.buckets.setdefault(self.bucket, {})
            return 200, {"Location": f"/{self.bucket}"}, b""
        if self.bucket not in self._store.buckets:
            raise FailureError(404, "NoSuchBucket")
        if "x-damaged" in self.headers:
            raise FailureError(400, "BadDigest")
        if "uploadId" in self.query:
            self._upload()[int(self.query["partNumber"])] = body
            return 200, {"ETag": Stored(body).etag}, b""
        return 200, {"ETag": self._write(body).etag}, b""

    def _write(self, body: bytes) -> Stored:
        """Write an object under the conditions of the request."""
        objects = self._store.buckets[self.bucket]
        present = objects.get(self.key)
        if self.headers.get("If-None-Match") == "*" and present is not None:
            raise FailureError(412, "PreconditionFailed", "If-None-Match")
        wanted = self.headers.get("If-Match")
        if wanted is not None and present is None:
            raise FailureError(404, "NoSuchKey")
        if wanted is not None and present is not None and wanted != present.etag:
            raise FailureError(412, "PreconditionFailed", "If-Match")
        objects[self.key] = Stored(body)
        return objects[self.key]

    def _upload(self) -> dict[int, bytes]:
        try:
            return self._store.uploads[self.query["uploadId"]]
        except KeyError:
            raise FailureError(404, "NoSuchUpload") from None

    def _post(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if "delete" in self.query:
            named = _texts(body, "Key")
            for name in named:
                self._store.buckets[self.bucket].pop(name, None)
            deleted = "".join(f"<Deleted><Key>{escape(n)}</Key></Deleted>" for n in named)
            return _xml("DeleteResult", deleted)
        if "uploads" in self.query:
            name = f"upload-{next(_numbers)}"
            self._store.uploads[name] = {}
            text = f"<Bucket>{self.bucket}</Bucket><Key>{escape(self.key)}</Key>"
            return _xml("InitiateMultipartUploadResult", f"{text}<UploadId>{name}</UploadId>")
        parts = self._upload()
        order = [int(text) for text in _texts(body, "PartNumber")]
        if any(number not in parts for number in order):
            raise FailureError(400, "InvalidPart")
        written = self._write(b"".join(parts[number] for number in order))
        del self._store.uploads[self.query["uploadId"]]
        text = f"<Key>{escape(self.key)}</Key><ETag>{escape(written.etag)}</ETag>"
        return _xml("CompleteMultipartUploadResult", text)

    def _delete(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if "uploadId" in self.query:
            self._store.uploads.pop(self.query["uploadId"], None)
        elif self.key:
            self._store.buckets[self.bucket].pop(self.key, None)
        else:
            del self._store.buckets[self.bucket]
        return 204, {}, b""


_numbers = itertools.count(1)


def _xml(name: str, content: str) -> tuple[int, dict[str, str], bytes]:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="{_NAMESPACE}">{content}</{name}>'
    return 200, {"Content-Type": "application/xml"}, text.encode()


def _texts(body: bytes, name: str) -> list[str]:
    """Texts of the elements of a name, whatever its namespace."""
    elements = ElementTree.fromstring(body).iter()
    return [each.text or "" for each in elements if each.tag.rpartition("}")[2] == name]
