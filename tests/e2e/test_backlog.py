"""More jobs than memory holds: they are found again in the store, in order, on time, by everybody."""

import json
import time

from tests.e2e.case import Case
from tests.e2e.shapes import instant
from tests.fixture.daemon import Daemon

WINDOW = 8  # jobs in memory that do not run


def small(**more):
    return Daemon({"scheduler": {"window": WINDOW, "max_active": 4, **more},
                   "lanes": [{"origin": "default", "concurrency": 2}]})


class BacklogCase(Case):
    """Posts many jobs at once."""

    def bulk(self, specs):
        """Posts the specs as NDJSON; their ids."""
        reply = self.api.ndjson("/v1/jobs", [json.dumps(spec) for spec in specs])
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual({line["status"] for line in reply.lines()}, {202})
        return [line["id"] for line in reply.lines()]


class Backlog(BacklogCase):
    """A window of eight."""

    def setUp(self):
        super().setUp()
        self.use(small())

    def test_all_run(self):
        """A thousand fetches and deliveries all end, though eight fit."""
        origin = self.origin()
        specs = []
        for n in range(500):
            specs.append({"kind": "fetch", "url": origin.url(f"/ok/{n}")})
            specs.append({"kind": "delivery", "wait": f"{n}ms"})
        for job_id in self.bulk(specs):
            self.assertEqual(self.ended(job_id)["state"], "succeeded")
        self.assertEqual(len({request.path for request in origin.seen()}), 500)
        self.assertEqual(len(origin.seen()), 500, "a job was run twice")

    def test_order_in_a_lane(self):
        """Jobs of one origin and priority start in the order in which they came."""
        self.daemon.write_configuration({"lanes": [{"origin": "default", "concurrency": 1}]})
        self.daemon.reload()
        origin = self.origin()
        specs = [{"kind": "fetch", "url": origin.url(f"/ok/{n}")} for n in range(300)]
        # In pieces: a later one comes while those before it are out, and the lane has room.
        for job_id in [job_id for n in range(0, 300, 20) for job_id in self.bulk(specs[n:n + 20])]:
            self.ended(job_id)
        self.assertEqual([int(request.path.rpartition("/")[2]) for request in origin.seen()],
                         list(range(300)))

    def test_priority(self):
        """Among jobs that are not in memory a higher priority goes first."""
        origin = self.origin()
        hold = origin.url("/ok/hold?ms=700")
        self.bulk([{"kind": "fetch", "url": hold}] * 2)
        origin.wait_for(2)
        ids = self.bulk([{"kind": "fetch", "url": origin.url(f"/ok/{n % 3}/{n}"),
                          "priority": n % 3} for n in range(150)])
        for job_id in ids:
            self.ended(job_id)
        order = [int(request.path.split("/")[2]) for request in origin.seen()[2:]]
        # What was in memory already, and what was on its way, may be ahead of its turn.
        last_of_high = max(place for place, priority in enumerate(order) if priority == 2)
        first_half_of_low = [place for place, priority in enumerate(order) if priority == 0][25]
        self.assertLess(last_of_high, first_half_of_low, order)

    def test_a_large_lane_does_not_starve_a_small_one(self):
        """One job to another origin passes four hundred that wait for theirs."""
        slow, other = self.origin(), self.origin(host="127.0.0.2")
        self.bulk([{"kind": "fetch", "url": slow.url(f"/ok/{n}?ms=50")} for n in range(400)])
        self.succeed({"kind": "fetch", "url": other.url("/ok/small")})
        self.assertLess(len(slow.seen()), 200)

    def test_due_on_time(self):
        """What is due later than others that fill the memory is not late."""
        far = self.bulk([{"kind": "delivery", "wait": "0s", "delay": "1h"}] * 100)
        near = self.bulk([{"kind": "delivery", "wait": "500ms"} for _ in range(100)])
        for job_id in near:
            job = self.ended(job_id)
            self.assertLess(job["run_ms"], 1500, job)
            self.assertGreaterEqual(job["run_ms"], 499, job)
        self.assertEqual(self.get(far[0])["state"], "pending")

    def test_wait_for_one_that_is_out(self):
        """?wait= sees the end of a job that was not in memory when the wait began."""
        self.bulk([{"kind": "delivery", "wait": "1h"}] * 50)
        [job_id] = self.bulk([{"kind": "delivery", "wait": "700ms"}])
        job = self.get(job_id, "?wait=10s")
        self.assertEqual(job["state"], "succeeded", job)

    def test_cancel_one_that_is_out(self):
        ids = self.bulk([{"kind": "delivery", "delay": "1h", "wait": "1s"}] * 60)
        self.cancel(ids[-1])
        self.cancel(ids[0])
        self.assertEqual(self.get(ids[30])["state"], "pending")

    def test_cancel_a_batch_that_is_out(self):
        """All members of a batch end when it is cancelled, wherever they are."""
        # Those that are due come into memory by themselves, the others only for the cancel.
        jobs = [{"kind": "delivery", "wait": "1h"}, {"kind": "delivery", "delay": "1h"}] * 350
        batch = self.batch({"run": "gather", "jobs": jobs}, "")
        reply = self.api.post(f"/v1/batches/{batch['id']}/cancel")
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(reply.json()["state"], "cancelled")
        self.assertEqual(reply.json()["counts"]["cancelled"], 700)

    def test_sequence_longer_than_memory(self):
        """Held members are brought in before their turn, and keep their order."""
        origin = self.origin()
        jobs = [{"kind": "fetch", "url": origin.url(f"/ok/{n}")} for n in range(400)]
        batch = self.batch({"run": "sequence", "jobs": jobs}, "?wait=80s")
        self.assertEqual(batch["counts"]["succeeded"], 400, batch)
        self.assertEqual([int(request.path.rpartition("/")[2]) for request in origin.seen()],
                         list(range(400)))
        self.assertEqual(origin.high_water, 1)

    def test_concurrency_of_a_batch(self):
        self.daemon.write_configuration({"lanes": [{"origin": "default", "concurrency": 4}]})
        self.daemon.reload()
        origin = self.origin()
        jobs = [{"kind": "fetch", "url": origin.url(f"/ok/{n}?ms=2")} for n in range(300)]
        batch = self.batch({"run": "gather", "concurrency": 2, "jobs": jobs}, "?wait=80s")
        self.assertEqual(batch["counts"]["succeeded"], 300, batch)
        self.assertEqual(origin.high_water, 2)

    def test_deadline_of_one_that_is_out(self):
        """A job whose deadline passes while it is out, queued or held, ends on time."""
        origin = self.origin()
        self.bulk([{"kind": "fetch", "url": origin.url("/ok/hold?ms=4000")}] * 20)
        ids = self.bulk([{"kind": "fetch", "url": origin.url("/ok/late"), "deadline": "1s"}] * 30)
        began = time.monotonic()
        for job_id in ids:
            job = self.ended(job_id)
            self.assertEqual(job["error"]["code"], "deadline_exceeded", job)
        self.assertLess(time.monotonic() - began, 3.5)
        self.assertEqual(origin.seen("/ok/late"), [])

    def test_retries_that_wait(self):
        """Tries that wait for their backoff leave memory to others and come back."""
        origin = self.origin()
        ids = self.bulk([{"kind": "fetch", "url": origin.url(f"/flaky/{n}?fail=2"),
                          "retry": {"attempts": 5, "backoff": "200ms", "max_backoff": "400ms"}}
                         for n in range(60)])
        for job_id in ids:
            job = self.ended(job_id)
            self.assertEqual(job["state"], "succeeded", job)
            self.assertEqual([attempt["n"] for attempt in job["attempts"]], [1, 2, 3])

    def test_retries_that_go_out(self):
        """Of tries that wait for long some go out, and come back though nobody else is out."""
        origin = self.origin()
        for job_id in self.bulk([{"kind": "fetch", "url": origin.url("/status/503?retry_after=2"),
                                  "retry": {"attempts": 2}}] * WINDOW):
            job = self.ended(job_id)
            self.assertEqual([attempt["status"] for attempt in job["attempts"]], [503, 503], job)

    def test_restart(self):
        """After a kill everything that was out or in memory goes on, once."""
        origin = self.origin()
        ids = self.bulk([{"kind": "fetch", "url": origin.url(f"/ok/{n}?ms=5")} for n in range(300)])
        origin.wait_for(40)
        self.daemon.kill()
        self.daemon.start()
        for job_id in ids:
            self.assertEqual(self.ended(job_id)["state"], "succeeded")
        self.assertLessEqual(len(origin.seen()), 300 + 4)

    def test_lists_show_all(self):
        ids = self.bulk([{"kind": "delivery", "delay": "1h", "wait": "1s"}] * 100)
        listed = [job["id"] for job in self.listed("&state=pending")]
        self.assertEqual(sorted(listed), sorted(ids))

    def test_dates(self):
        """`at` holds for jobs that are out."""
        at = time.time() + 1.5
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(int(at) + 1))
        ids = self.bulk([{"kind": "delivery", "at": stamp, "wait": "0s"}] * 40)
        for job_id in ids:
            job = self.ended(job_id)
            late = instant(job["started_at"]) - instant(stamp)
            self.assertGreaterEqual(late, -0.01, job)
            self.assertLess(late, 1.5, job)


class FullMemory(BacklogCase):
    """Whatever fills the memory, everybody goes on."""

    def test_held_members_leave_room_for_retries(self):
        """Members that wait for one that comes back do not fill the memory that it needs."""
        self.use(small(window_memory="64KiB"))
        origin = self.origin()
        retry = {"attempts": 5, "backoff": "100ms", "max_backoff": "100ms"}
        jobs = [{"kind": "fetch", "method": "PUT", "url": origin.url(f"/flaky/{n}?fail=2"),
                 "body": {"text": "x" * 16000}, "retry": retry} for n in range(20)]
        batch = self.batch({"run": "sequence", "jobs": jobs}, "?wait=30s")
        self.assertEqual(batch["counts"]["succeeded"], 20, batch)

    def test_lanes_beside_one_that_hangs(self):
        """A full window of one lane's jobs holds no other lane up, however many those are."""
        self.use(small(max_active=64))
        slow, quick = self.origin(), [self.origin(host=f"127.0.0.{n}") for n in range(2, 14)]
        self.bulk([{"kind": "fetch", "url": slow.url("/ok/slow?ms=20000")} for _ in range(40)])
        slow.wait_for(2)
        ids = self.bulk([{"kind": "fetch", "url": origin.url(f"/ok/{n}?ms=100")}
                         for n in range(15) for origin in quick])
        self.daemon.kill()
        for origin in quick:
            origin.wait_until(lambda origin=origin: origin.active == 0)
            origin.reset_high_water()
        self.daemon.start()
        began = time.monotonic()
        for job_id in ids:
            self.assertEqual(self.ended(job_id)["state"], "succeeded")
        self.assertLess(time.monotonic() - began, 15)
        self.assertEqual({origin.high_water for origin in quick}, {2})

    def test_lanes_beside_one_with_large_jobs(self):
        """A lane whose jobs have all the bytes that may wait holds no other lane up."""
        self.use(small(max_active=64, window_memory="64KiB"))
        slow, quick = self.origin(), self.origin(host="127.0.0.2")
        self.bulk([{"kind": "fetch", "method": "PUT", "url": slow.url("/ok/slow?ms=20000"),
                    "body": {"text": "x" * 16000}} for _ in range(40)])
        slow.wait_for(2)
        began = time.monotonic()
        for job_id in self.bulk([{"kind": "fetch", "url": quick.url(f"/ok/{n}?ms=100")}
                                 for n in range(10)]):
            self.assertEqual(self.ended(job_id)["state"], "succeeded")
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(quick.high_water, 2)

    def test_restart_with_a_member_that_memory_had_no_room_to_hold(self):
        """A member that was let go as soon as it was brought in is in flight when all dies."""
        self.use(small(window=1))
        origin = self.origin()
        jobs = [{"kind": "fetch", "url": origin.url(f"/ok/{n}?ms={n % 2 * 700}")}
                for n in range(6)]
        batch = self.batch({"run": "sequence", "jobs": jobs}, "")
        origin.wait_for(2)
        self.daemon.kill()
        self.daemon.start()
        reply = self.api.get(f"/v1/batches/{batch['id']}?wait=30s")
        self.assertEqual(reply.json()["counts"]["succeeded"], 6, reply)
        paths = [int(request.path.split("/")[2].split("?")[0]) for request in origin.seen()]
        self.assertEqual(paths, [0, 1, 1, 2, 3, 4, 5])

    def test_deadline_that_passed_before_the_start(self):
        """Who is held back, or is out behind others, ends at once, though the one before it runs."""
        self.use(small(drain_timeout="100ms"))
        origin, other = self.origin(), self.origin(host="127.0.0.2")
        jobs = [{"kind": "fetch", "url": origin.url("/ok/0?ms=6000")},
                {"kind": "fetch", "url": origin.url("/ok/1"), "deadline": "1s"}]
        batch = self.batch({"run": "sequence", "jobs": jobs}, "")
        self.bulk([{"kind": "fetch", "url": other.url("/ok/0?ms=6000")}] * 3 * WINDOW)
        [out] = self.bulk([{"kind": "fetch", "url": other.url("/ok/1"), "deadline": "1s"}])
        origin.wait_for(1)
        self.daemon.kill()
        time.sleep(1)
        self.daemon.start()
        began = time.monotonic()
        for job_id in (batch["job_ids"][1], out):
            job = self.ended(job_id)
            self.assertEqual(job["error"]["code"], "deadline_exceeded", job)
        self.assertLess(time.monotonic() - began, 3)


class Limits(Case):
    """What is past a limit is refused with its name."""

    def test_origins(self):
        self.use(small(max_lanes=3))
        origins = [self.origin(host=f"127.0.0.{n}") for n in range(1, 6)]
        for origin in origins[:3]:
            self.submit({"kind": "fetch", "url": origin.url("/ok?ms=3000")})
        reply = self.api.post("/v1/jobs", {"kind": "fetch", "url": origins[3].url()})
        self.check_problem(reply, 503)
        self.assertIn("max_lanes", reply.json()["detail"])
        self.assertGreaterEqual(int(reply.headers["Retry-After"]), 1)
        self.submit({"kind": "fetch", "url": origins[0].url()})
