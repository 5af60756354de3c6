"""A web server that takes webhooks and fails now and then: `hooks.py PORT FILE SECRET`, a process of its own.

Each event it takes stands in FILE as a line, synced, before it is answered. In turn it answers, refuses (503), breaks off before
it has taken anything, and breaks off after: whoever is not told has to tell again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import BinaryIO


def main(port: int, path: str, secret: bytes) -> None:
    turns = 0
    with open(path, "ab") as file:  # noqa: PTH123 - a path of the command line

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                nonlocal turns
                turns += 1
                body = self.rfile.read(int(self.headers["content-length"]))
                if turns % 7 == 3:
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif turns % 7 == 5:
                    self.close_connection = True
                elif not is_signed(self.headers["webhook-id"], self.headers["webhook-timestamp"], self.headers["webhook-signature"], body):
                    self.send_error(401)
                else:
                    keep(file, body)
                    if turns % 7 == 0:
                        self.close_connection = True
                        return
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
                pass

        def is_signed(name: str, stamp: str, signature: str, body: bytes) -> bool:
            expected = base64.b64encode(hmac.digest(secret, f"{name}.{stamp}.".encode() + body, hashlib.sha256)).decode()
            return hmac.compare_digest(signature, f"v1,{expected}") and abs(int(stamp) - time.time()) < 300

        def keep(file: BinaryIO, body: bytes) -> None:
            file.write(body + b"\n")
            file.flush()
            os.fsync(file.fileno())

        HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3].encode())
