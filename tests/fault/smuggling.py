"""Request smuggling: whatever the framing claims, no byte of a body ever becomes a request.

Each body hides `POST /v1/jobs` and `GET /smuggled`. A hidden POST that is taken makes a job of that
name; a hidden GET that is taken is one answer too many.
"""

import json
import re
import socket
import time

from tests.fixture.http import read_all

NAME = "smuggled"
ANSWER_SECONDS = 10
PIECE_REST = 0.002  # between two pieces: so that each is read alone
STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3})", re.MULTILINE)

# Each is the head's lines after the request line, and how the hidden requests are wrapped.
LENGTHS = ("Content-Length: 0\r\nContent-Length: {n}", "Content-Length: {n}\r\nContent-Length: 0",
           "Content-Length: {n}\r\nContent-Length: {n}", "Content-Length: 0, {n}",
           "Content-Length: +0", "Content-Length: -1", "Content-Length: 0x0", "Content-Length: 00x",
           "Content-Length:\t0\t1", "Content-Length: 0\x0b",
           "Content-Length: 18446744073709551616", "Content-Length: 1e0", "Content-Length: ",
           "Content-Length : 0", "Content-Length\t: 0", " Content-Length: 0",
           "Content-Length\x00: 0", "X: y\r\n Content-Length: 0\r\nContent-Length: {n}",
           "Content-Length: 0;x")
CODINGS = ("chunked\r\nContent-Length: {n}", "chunked\r\nContent-Length: 0", "chunked, identity",
           "identity, chunked", "chunked\r\nTransfer-Encoding: identity", "xchunked", "chunked;q=1",
           "\x0bchunked", "CHUNKED\r\nContent-Length: 5", "\"chunked\"",
           "chunked\r\nTransfer-Encoding: chunked", "gzip, chunked", "chun\tked", "chunked,")
NAMES = ("Transfer-Encoding : chunked\r\nContent-Length: {n}",
         " Transfer-Encoding: chunked\r\nContent-Length: {n}",
         "X: y\nTransfer-Encoding: chunked\r\nContent-Length: {n}",
         "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: {n}",
         "Transfer-Encoding\r\n: chunked\r\nContent-Length: {n}",
         "X: y\rTransfer-Encoding: chunked\r\nContent-Length: {n}",
         "Content-Length: {n}\nTransfer-Encoding: chunked",
         "Transfer-Encoding: chunked\nContent-Length: {n}")
# What the HTTP library takes out of a value before the daemon sees it.
HIDDEN = ("Content-Length: 0\r\n {n}", "Transfer-Encoding: chunked\x00",
          "Content-Length: 0\x00 {n}")
CHUNKED = "Transfer-Encoding: chunked"
# A chunk's size line that two parsers may read in two ways, before the hidden requests.
SIZES = (b"0x%x", b"+%x", b"-%x", b"%x;", b"%x;a=\"\n\"", b"%x ;x", b" %x", b"%x\t", b"0%x\r",
         b"%x\n", b"%x\n\n", b"1%016x", b"%xg", b";%x", b"")


class Attack:
    """One daemon, and what it answers to bytes that no client library would send."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.client = daemon.client(ANSWER_SECONDS)
        self.tried = 0
        self.answered_twice, self.silent = [], []
        job = json.dumps({"kind": "delivery", "name": NAME}).encode()
        host = b"Host: 127.0.0.1:%d\r\n" % daemon.port
        self.host = host
        self.hidden = (
            b"POST /v1/jobs HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(job), job),
            b"GET /smuggled HTTP/1.1\r\n" + host + b"\r\n")

    def head(self, fields, line="POST /v1/jobs HTTP/1.1"):
        return line.encode() + b"\r\n" + self.host + b"Content-Type: application/json\r\n" \
            + fields.encode("latin-1") + b"\r\n\r\n"

    def send(self, what, pieces):
        """Sends the pieces one after another; the statuses of all that is answered."""
        self.tried += 1
        received = b""
        with self.client.socket() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(ANSWER_SECONDS)
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(PIECE_REST if len(pieces) > 1 else 0)
                connection.shutdown(socket.SHUT_WR)
                received = read_all(connection)
            except TimeoutError:
                self.silent.append(what)
            except OSError:
                pass  # it was refused before all was sent
        return STATUS.findall(received), received

    def attempt(self, what, head, body):
        """Sends an attack whole, and in pieces that end where a parser may take a breath."""
        for pieces in ((head + body,), (head, body), (head[:-2], head[-2:] + body[:1], body[1:])):
            statuses, received = self.send(what, pieces)
            # A page of the HTTP library's own has the head of its answer twice.
            own_page = received.count(b"<html>") == 1 and len(set(statuses)) == 1
            if len(statuses) > 1 and not (own_page and len(statuses) == 2):
                self.answered_twice.append(f"{what}: {b' '.join(statuses).decode()}")

    def jobs(self):
        return [job for job in self.client.get("/v1/jobs?limit=1000").json()["data"]
                if job["name"] == NAME]

    def framings(self, forms, prefix=""):
        for form in forms:
            for hidden in self.hidden:
                fields = prefix + form.format(n=len(hidden))
                self.attempt(repr(fields), self.head(fields), hidden)
                self.attempt(repr(fields), self.head(fields), b"0\r\n\r\n" + hidden)

    def sizes(self):
        for size in SIZES:
            for hidden in self.hidden:
                line = size % len(hidden) if b"%" in size else size
                for end in (b"\r\n", b"\n"):
                    self.attempt(f"chunk {line + end!r}", self.head(CHUNKED),
                                 line + end + hidden + b"\r\n0\r\n\r\n")

    def chunk_ends(self):
        """What stands where the end of a chunk, or of the trailer, should be."""
        for hidden in self.hidden:
            for body in (b"1\r\nxX\r\n" + hidden, b"1\r\nx\n0\r\n" + hidden, b"1\r\nx" + hidden,
                         b"1\r\nx\r\r\n0\r\n\r\n"[:-2] + hidden,
                         b"0\r\nTrailer: a\r\n b\r\n" + hidden,
                         b"ffffffffffffffff\r\n" + hidden, b"-1\r\n" + hidden):
                self.attempt(f"chunks {body[:24]!r}", self.head(CHUNKED), body)

    def versions(self):
        """A body where there can be none, or an older protocol."""
        for hidden in self.hidden:
            for line in ("GET /livez HTTP/1.1", "HEAD /livez HTTP/1.1", "DELETE /livez HTTP/1.1",
                         "POST /v1/jobs HTTP/1.0", "POST /nowhere HTTP/1.1",
                         "PUT /v1/jobs HTTP/1.1"):
                head = self.head(f"Content-Length: {len(hidden)}\r\nConnection: close", line)
                self.attempt(line, head, hidden)
            head = self.head("Transfer-Encoding: chunked", "POST /v1/jobs HTTP/1.0")
            self.attempt("chunked in 1.0", head, b"0\r\n\r\n" + hidden)


def control(proof):
    """Two proper requests get two answers and make a job: what is looked for can be seen."""
    daemon = proof.daemon()
    daemon.start()
    attack = Attack(daemon)
    statuses, _ = attack.send("control", (attack.hidden[0] + attack.hidden[1],))
    proof.row("two proper requests, as a control", 1,
              f"{b' '.join(statuses).decode()}, {len(attack.jobs())} job",
              statuses == [b"202", b"404"] and len(attack.jobs()) == 1)


def forms(proof):
    """All forms, each whole and in pieces."""
    daemon = proof.daemon()
    daemon.start()
    for name, run in (("Content-Length", lambda a: a.framings(LENGTHS)),
                      ("Transfer-Encoding", lambda a: a.framings(CODINGS, "Transfer-Encoding: ")),
                      ("names, folds, bare line feeds", lambda a: a.framings(NAMES)),
                      ("NUL and folded values", lambda a: a.framings(HIDDEN)),
                      ("sizes of chunks", Attack.sizes), ("ends of chunks", Attack.chunk_ends),
                      ("bodies of other requests", Attack.versions)):
        attack = Attack(daemon)
        before = len(attack.jobs())
        run(attack)
        made = len(attack.jobs()) - before
        proof.row(f"smuggling by {name}", attack.tried,
                  f"{made} smuggled jobs, {len(attack.answered_twice)} answers too many, "
                  f"{len(attack.silent)} left waiting",
                  made == 0 and not attack.answered_twice and not attack.silent)
        proof.note("\n".join([*dict.fromkeys(attack.answered_twice), *attack.silent[:5]][:12]))


PARTS = [control, forms]
