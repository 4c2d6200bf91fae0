"""The list of jobs, and NDJSON uploads."""

import json
import socket

from tests.e2e.case import DaemonCase
from tests.fixture.http import read_all


def delivery(**more):
    return {"kind": "delivery", "wait": 0, **more}


class Lists(DaemonCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ids = [cls.api.post("/v1/jobs?wait=60s", delivery(name=str(n))).json()["id"]
                   for n in range(23)]

    def page(self, query):
        reply = self.api.get(f"/v1/jobs{query}")
        self.assertEqual(reply.status, 200, reply)
        return reply

    def test_newest_first(self):
        """The list starts with the newest job."""
        self.assertEqual([job["id"] for job in self.listed() if job["id"] in self.ids],
                         self.ids[::-1])

    def test_pages(self):
        """Pages of any size hold each job once; cursor and Link lead to the next."""
        for limit in (1, 5, 23, 1000):
            with self.subTest(limit):
                seen, path = [], f"/v1/jobs?limit={limit}"
                while path:
                    reply = self.api.get(path)
                    self.assertEqual(reply.status, 200, reply)
                    page = reply.json()
                    self.assertLessEqual(len(page["data"]), limit)
                    seen += [job["id"] for job in page["data"]]
                    link = reply.headers["Link"]
                    self.assertEqual(link is None, page["next_cursor"] is None)
                    path = link and link[link.index("<") + 1:link.index(">")]
                    if link:
                        self.assertIn('rel="next"', link)
                        self.assertIn(page["next_cursor"], link)
                self.assertEqual([i for i in seen if i in self.ids], self.ids[::-1])
                self.assertEqual(len(seen), len(set(seen)))

    def test_default_limit(self):
        """A page has 50 rows unless it is asked otherwise."""
        self.batch({"run": "gather", "jobs": [delivery()] * 60})
        self.assertEqual(len(self.page("").json()["data"]), 50)

    def test_new_jobs_do_not_disturb_paging(self):
        """Jobs that come while pages are read neither hide nor repeat older ones."""
        first = self.page("?limit=10").json()
        self.finish(delivery())
        second = self.page(f"?limit=10&cursor={first['next_cursor']}").json()
        ids = [job["id"] for job in first["data"] + second["data"]]
        self.assertEqual(len(set(ids)), 20)

    def test_filters(self):
        """state, kind and batch select, together too."""
        origin = self.origin()
        failed = self.finish({"kind": "fetch", "url": origin.url("/status/404")})
        pending = self.submit(delivery(delay="60s"))
        running = self.submit({"kind": "fetch", "url": origin.url("/silent")})
        origin.wait_for(1, "/silent")
        batch = self.batch({"run": "gather", "jobs": [delivery(), delivery(delay="60s")]}, "")
        self.ended(batch["job_ids"][0])

        def ids(query):
            return {job["id"] for job in self.listed(query)}

        self.assertEqual(ids("&state=failed"), {failed["id"]})
        self.assertEqual(ids("&state=running"), {running["id"]})
        self.assertEqual(ids("&state=pending"), {pending["id"], batch["job_ids"][1]})
        self.assertEqual(ids("&kind=fetch"), {failed["id"], running["id"]})
        self.assertEqual(ids("&kind=fetch&state=failed"), {failed["id"]})
        self.assertEqual(ids(f"&batch={batch['id']}"), set(batch["job_ids"]))
        self.assertEqual(ids(f"&batch={batch['id']}&state=succeeded"), {batch["job_ids"][0]})
        self.assertLessEqual(set(self.ids), ids("&state=succeeded"))
        self.cancel(running["id"])
        self.cancel(pending["id"])
        self.assertEqual(ids("&state=cancelled"), {running["id"], pending["id"]})
        self.assertEqual(ids("&state=running"), set())

    def test_rows(self):
        """A row has the job's fields, without attempts, events and headers."""
        shown = self.get(self.ids[0])
        row = next(job for job in self.listed() if job["id"] == self.ids[0])
        for key in ("id", "kind", "name", "state", "created_at", "finished_at", "total_ms"):
            self.assertEqual(row[key], shown[key], key)
        self.assertFalse(row.get("attempts"))
        self.assertFalse(row.get("events"))

    def test_bad_queries(self):
        """What a query must not say is 400 with the parameter's name."""
        for query, name in (("limit=0", "limit"), ("limit=1001", "limit"), ("limit=-1", "limit"),
                            ("limit=ten", "limit"), ("limit=", "limit"), ("state=done", "state"),
                            ("kind=push", "kind"), ("batch=1", "batch"),
                            ("cursor=%00", "cursor"), ("cursor=nonsense", "cursor"),
                            ("cursor=" + "A" * 3000, "cursor"), ("nonsense=1", "nonsense"),
                            ("limit=1&limit=2", "limit")):
            with self.subTest(query):
                reply = self.api.get(f"/v1/jobs?{query}")
                problem = self.check_problem(reply, 400)
                self.assertEqual(problem["errors"][0].get("parameter"), name, problem)

    def test_bad_queries_of_one_job(self):
        """wait and body are checked, too."""
        for query in ("wait=x", "wait=-1s", "wait=", "body=yes", "nonsense=1"):
            with self.subTest(query):
                self.check_problem(self.api.get(f"/v1/jobs/{self.ids[0]}?{query}"), 400)
        for query in ("wait=x", "nonsense=1"):
            with self.subTest(query):
                self.check_problem(self.api.post(f"/v1/jobs?{query}", delivery()), 400)

    def test_unknown_batch(self):
        """Jobs of a batch that is not there are none, or a 404."""
        reply = self.api.get("/v1/jobs?batch=00000000-0001-7000-8000-000000000000")
        self.assertIn(reply.status, (200, 404))
        if reply.status == 200:
            self.assertEqual(reply.json()["data"], [])


class Uploads(DaemonCase):
    """POST /v1/jobs with application/x-ndjson."""

    def upload(self, lines):
        reply = self.api.ndjson("/v1/jobs", lines)
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(reply.headers.get_content_type(), "application/x-ndjson")
        return reply.lines()

    def test_all_good(self):
        """Each line is a job; the answer has a line for each, in their order."""
        answers = self.upload([delivery(name=str(n)) for n in range(200)])
        self.assertEqual([line["status"] for line in answers], [202] * 200)
        for place in (0, 57, 199):
            self.assertEqual(self.ended(answers[place]["id"])["name"], str(place))

    def test_bad_lines_fail_alone(self):
        """A bad line gets its own errors, its neighbours are accepted."""
        answers = self.upload([
            delivery(name="first"),
            "this is no JSON",
            delivery(wait="-1s"),
            '{"kind": "delivery", "kind": "fetch"}',
            "[1, 2]",
            '{"kind": "delivery", "wait": 0',
            {"kind": "fetch", "url": "ftp://127.0.0.1/", "method": "GE T", "nonsense": 1},
            "[" * 100 + "]" * 100,
            delivery(name="last"),
        ])
        self.assertEqual([line["status"] for line in answers],
                         [202, 400, 422, 400, 422, 400, 422, 400, 202])
        self.assertEqual(self.ended(answers[8]["id"])["name"], "last")
        self.assertEqual([e["pointer"] for e in answers[2]["errors"]], ["/wait"])
        self.assertEqual(sorted(e["pointer"] for e in answers[6]["errors"]),
                         ["/method", "/nonsense", "/url"])
        self.assertEqual(set(answers[1]["errors"][0]) & {"line", "column"}, {"line", "column"})
        self.assertNotIn("id", answers[1])

    def test_line_ends(self):
        """CRLF, empty lines and a last line without its end do no harm."""
        text = json.dumps(delivery())
        body = f"{text}\r\n\n{text}\n\r\n{text}"
        reply = self.api.post("/v1/jobs", body, {"Content-Type": "application/x-ndjson"})
        self.assertEqual([line["status"] for line in reply.lines()], [202] * 3, reply)

    def test_empty(self):
        """An upload without lines is answered without lines, or refused; nothing is made."""
        reply = self.api.post("/v1/jobs", b"", {"Content-Type": "application/x-ndjson"})
        self.assertIn(reply.status, (200, 400, 422), reply)
        if reply.status == 200:
            self.assertEqual(reply.lines(), [])

    def test_in_pieces(self):
        """Lines that arrive byte by byte, chunked, are the same lines."""
        text = (json.dumps(delivery(name="é")) + "\n").encode() * 3
        chunks = b"".join(b"1\r\n" + text[n:n + 1] + b"\r\n" for n in range(len(text)))
        answer = self.api.raw(
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n"
            b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n"
            % (self.daemon.port, chunks))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)
        self.assertEqual(answer.count(b'"status":202'), 3, answer)

    def test_cut_off(self):
        """Of an upload that breaks off the whole lines are accepted, the torn one is not."""
        lines = [json.dumps(delivery(name=f"cut {n}")) for n in range(5)]
        body = "\n".join(lines).encode()[:-10]
        head = (f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{self.daemon.port}\r\n"
                f"Content-Type: application/x-ndjson\r\nContent-Length: 100000\r\n\r\n").encode()
        with self.api.socket() as connection:
            connection.sendall(head + body)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(20)
            read_all(connection)
        names = []
        for _ in range(100):
            names = sorted(job["name"] for job in self.listed()
                           if (job["name"] or "").startswith("cut"))
            if len(names) >= 4:
                break
            self.finish(delivery(wait="20ms"))
        self.assertEqual(names, [f"cut {n}" for n in range(4)])

    def test_large(self):
        """Twenty thousand jobs in one upload are all accepted and all done."""
        answers = self.upload([delivery()] * 20000)
        self.assertEqual(len(answers), 20000)
        self.assertEqual({line["status"] for line in answers}, {202})
        self.assertEqual(len({line["id"] for line in answers}), 20000)
        self.ended(answers[-1]["id"])
        for place in range(0, 20000, 997):
            self.assertEqual(self.ended(answers[place]["id"])["state"], "succeeded")


class SmallUploads(DaemonCase):
    settings = {"api": {"max_lines": 10, "max_bulk": "16KiB", "max_body": "4KiB"}}

    def test_too_many_lines(self):
        """More lines than max_lines are refused with 413, as a whole or from there on."""
        reply = self.api.ndjson("/v1/jobs", [delivery(name="lines")] * 11)
        made = [job for job in self.listed() if job["name"] == "lines"]
        if reply.status == 200:
            answers = reply.lines()
            self.assertEqual([line["status"] for line in answers], [202] * 10 + [413])
            self.assertEqual(len(made), 10)
        else:
            self.check_problem(reply, 413)
            self.assertEqual(made, [])
        self.assertEqual(self.api.ndjson("/v1/jobs", [delivery()] * 10).status, 200)

    def test_too_many_bytes(self):
        """More bytes than max_bulk are refused with 413."""
        reply = self.api.ndjson("/v1/jobs", [delivery(name="x" * 200)] * 100)
        self.check_problem(reply, 413)

    def test_bulk_may_be_larger_than_a_body(self):
        """max_body bounds a single job, and not an upload."""
        lines = [delivery(labels={"a": "x" * 100, "b": "y" * 100})] * 10
        reply = self.api.ndjson("/v1/jobs", [json.dumps(line) + " " * 500 for line in lines])
        self.assertEqual([line["status"] for line in reply.lines()], [202] * 10, reply)


