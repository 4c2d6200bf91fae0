"""A client that keeps its connection, for one thread that asks much."""

import http.client
import json

from tests.fixture.http import Client, Reply


class Kept(Client):
    """As Client, over one connection that is made anew when it has ended."""

    def __init__(self, daemon, timeout=90):
        super().__init__("127.0.0.1", daemon.port, timeout)
        self._connection = self.connect()

    def request(self, method, path, body=None, headers=None):
        try:
            return Reply(self._send(self._connection, method, path, body, headers))
        except BaseException:
            self._connection.close()
            raise

    def bulk(self, specs):
        """Posts NDJSON on a connection of its own; the lines of the answer that have come whole."""
        connection = self.connect()
        try:
            text = "".join(json.dumps(spec) + "\n" for spec in specs)
            response = self._send(connection, "POST", "/v1/jobs", text,
                                  {"Content-Type": "application/x-ndjson"})
            try:
                body = response.read()
            except http.client.IncompleteRead as cut:
                body = cut.partial
        finally:
            connection.close()
        whole = body[:body.rfind(b"\n") + 1] if response.status == 200 else b""
        return [json.loads(line) for line in whole.splitlines() if line.strip()]

    def close(self):
        self._connection.close()
