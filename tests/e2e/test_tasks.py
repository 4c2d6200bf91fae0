"""GET /v1/tasks: the live coroutines, as JSON and as text, idle and with a thousand jobs in flight."""

import re
import threading
import time

from tests.e2e.case import DaemonCase

FIELDS = {"id", "name", "state", "awaits", "awaited", "waiting_ms", "cancelling", "stack_bytes",
          "where", "backtrace"}
AWAITS = {"task", "gather", "tasks", "group", "future", "time", "fd", "event", "gate", "lock",
          "condition", "send", "receive", "thread"}
LINE = re.compile(r" *(\d+\.\d+) (.*?): (waits for (\w+) since [\d.]+ s|ready|running|see above)")
PLACE = re.compile(r"\S+ \(\S+:\d+\)|\S+\+0x[0-9a-f]+")
JOBS = 1000


class Tasks(DaemonCase):
    settings = {"lanes": [{"origin": "default", "concurrency": JOBS}],
                "scheduler": {"max_active": JOBS}}

    def check_task(self, task):
        self.assertEqual(set(task), FIELDS)
        self.assertRegex(task["id"], r"\A\d+\.\d+\Z")
        self.assertRegex(task["name"], r"\A[ -~]{1,63}\Z")
        self.assertIn(task["state"], ("ready", "running", "waiting"))
        waits = task["state"] == "waiting"
        self.assertEqual(task["awaits"] in AWAITS, waits, task)
        self.assertEqual(task["waiting_ms"] is not None and task["waiting_ms"] >= 0, waits, task)
        self.assertEqual(task["cancelling"], 0, task)
        if task["state"] == "running":
            self.assertEqual((task["stack_bytes"], task["where"]), (None, None))
            self.assertEqual(task["backtrace"], [])
            return
        self.assertIn(task["stack_bytes"], range(100, 262144))
        self.assertEqual(task["where"], task["backtrace"][0])
        for place in task["backtrace"]:
            self.assertRegex(place, PLACE)
            self.assertNotIn("daemon/co/", place)

    def tasks(self):
        reply = self.api.get("/v1/tasks")
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(reply.headers["Content-Type"], "application/json")
        answer = reply.json()
        self.assertEqual(set(answer), {"data", "count"})
        self.assertEqual(answer["count"], len(answer["data"]))
        ids = {task["id"] for task in answer["data"]}
        self.assertEqual(len(ids), answer["count"])
        for task in answer["data"]:
            self.check_task(task)
            self.assertLessEqual(set(task["awaited"]), ids, task)
        return answer["data"]

    def tree(self):
        """(id, name) of each task of the text, which shows each once."""
        reply = self.api.get("/v1/tasks", {"Accept": "text/plain"})
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(reply.headers["Content-Type"], "text/plain; charset=utf-8")
        head, *lines = reply.body.decode("ascii").splitlines()
        found = [LINE.match(line) for line in lines]
        self.assertTrue(all(found), lines)
        shown = [(m[1], m[2]) for m in found if m[3] != "see above"]
        self.assertEqual(head, f"{len(shown)} tasks")
        self.assertEqual(len(set(shown)), len(shown))
        return shown

    def by_name(self, name):
        return next((t for t in self.tasks() if t["name"] == name), None)

    def test_idle(self):
        """An idle daemon has the tasks that always are, and that of the request."""
        tasks = {task["name"]: task for task in self.tasks()}
        self.assertLessEqual({"main", "api", "GET /v1/tasks"}, set(tasks))
        self.assertEqual(tasks["GET /v1/tasks"]["state"], "running")
        self.assertIn("daemon/main.c:", tasks["main"]["where"])
        self.assertTrue(tasks["main"]["backtrace"][-1].startswith("daemon_main ("))
        self.assertTrue(tasks["api"]["where"].startswith("api_main (api/server.c:"), tasks["api"])

    def test_ages_grow(self):
        """A task that waits gets older, as fast as the clock."""
        before = self.by_name("main")["waiting_ms"]
        start = time.monotonic()
        while self.by_name("main")["waiting_ms"] < before + 100:
            self.assertLess(time.monotonic() - start, 5)
        self.assertGreater(time.monotonic() - start, 0.09)

    def test_forms(self):
        """JSON unless text is preferred; HEAD; other methods and parameters are refused."""
        for accept in ("*/*", "application/json", "text/html", "text/plain;q=0.1, */*"):
            reply = self.api.get("/v1/tasks", {"Accept": accept})
            self.assertEqual(reply.headers["Content-Type"], "application/json", accept)
            self.assertEqual(reply.headers["Vary"], "Accept")
        head = self.api.request("HEAD", "/v1/tasks", headers={"Accept": "text/plain"})
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["Content-Type"], "text/plain; charset=utf-8")
        for method in ("POST", "PUT", "DELETE"):
            reply = self.api.request(method, "/v1/tasks")
            self.check_problem(reply, 405)
            self.assertEqual(reply.headers["Allow"], "GET, HEAD")
        self.check_problem(self.api.get("/v1/tasks?full=true"), 400)

    def test_request_names(self):
        """A request that waits is there by its method and path; its query is nobody's business."""
        job = self.submit({"kind": "delivery", "name": "long", "wait": "30s"})
        path = f"/v1/jobs/{job['id']}"
        waiter = threading.Thread(target=self.api.get, args=(f"{path}?wait=30s",))
        waiter.start()
        while not (task := self.by_name(f"GET {path}")) or task["state"] != "waiting":
            pass
        self.assertEqual(task["awaits"], "condition")
        self.assertIn(f"GET {path}", [name for _, name in self.tree()])
        self.cancel(job["id"])
        waiter.join()

    def test_odd_paths(self):
        """Whatever a path holds, names stay printable and short."""
        for path in ("/v1/jobs/%1b%5b31m", "/v1/jobs/%c3%a9%0a", "/v1/jobs/" + "x" * 500):
            self.assertEqual(self.api.get(path).status, 404)
        self.tasks()

    def test_under_load(self):
        """A thousand jobs in flight: each is there by its id, in both forms, and grows older."""
        origin = self.origin()
        lines = self.api.ndjson(
            "/v1/jobs", [{"kind": "fetch", "url": origin.url("/silent"), "timeout": "60s"}] * JOBS)
        jobs = {f"fetch {line['id']}" for line in lines.lines()}
        self.assertEqual(len(jobs), JOBS)
        origin.wait_for(JOBS, timeout=60)

        first = {t["name"]: t for t in self.tasks() if t["name"] in jobs}
        self.assertEqual(set(first), jobs)
        for task in first.values():
            self.assertEqual(task["state"], "waiting")
            self.assertTrue(any("daemon/engine/" in place for place in task["backtrace"]), task)
        second = {t["name"]: t for t in self.tasks() if t["name"] in jobs}
        self.assertTrue(all(second[name]["waiting_ms"] > first[name]["waiting_ms"]
                            for name in jobs))
        self.assertLessEqual(jobs, {name for _, name in self.tree()})

        answers = []
        callers = [threading.Thread(target=lambda: answers.append(self.api.get("/v1/tasks").status))
                   for _ in range(10)]
        for caller in callers:
            caller.start()
        while any(caller.is_alive() for caller in callers):
            self.check_alive()
        self.assertEqual(answers, [200] * 10)
