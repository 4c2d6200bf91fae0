"""The fields that answers have, and the checks that every one of them must pass."""

import datetime
import re

ENDED = ("succeeded", "failed", "cancelled")
STATES = ("pending", "running", "waiting", *ENDED)
PHASES = ("none", "dns", "connect", "tls", "request", "response")

JOB = set("""id kind name state step batch index lane labels priority executor request
    wait_ms created_at due_at started_at finished_at queued_ms run_ms total_ms attempts events
    result error""".split())
REQUEST = {"url", "method", "headers", "body_bytes"}
RESULT = {"status", "headers", "body_bytes", "body_type", "truncated"}
ERROR = {"phase", "code", "message", "retry_safe"}
SPANS = ("dns_ms", "connect_ms", "tls_ms", "send_ms", "first_byte_ms", "receive_ms")
ATTEMPT = {"n", "hop", "step", "url", "method", "started_at", "lane_wait_ms", *SPANS, "total_ms",
           "reused", "http_version", "remote", "sent_bytes", "received_bytes", "reached", "status",
           "error"}
BATCH = set("""id run state concurrency on_error counts created_at finished_at elapsed_ms
    work_ms speedup""".split())
COUNTS = {"total", "pending", "running", "waiting", "succeeded", "failed", "cancelled"}

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def instant(text):
    """Seconds since the epoch of a time as the API writes it."""
    if not INSTANT.fullmatch(text):
        raise AssertionError(f"not a time with microseconds in UTC: {text!r}")
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def check(condition, what, value):
    if not condition:
        raise AssertionError(f"{what}: {value!r}")


def check_fields(fields, value, what):
    check(isinstance(value, dict), f"{what} is not an object", value)
    check(fields <= set(value), f"{what} lacks {sorted(fields - set(value))}", value)


def check_attempt(attempt):
    check_fields(ATTEMPT, attempt, "an attempt")
    instant(attempt["started_at"])
    check(attempt["reached"] in PHASES, "reached", attempt)
    spans = [attempt[name] for name in SPANS if attempt[name] is not None]
    check(all(span >= 0 for span in spans), "a negative phase", attempt)
    check(abs(sum(spans) - attempt["total_ms"]) < 0.01, "phases do not add up to total_ms", attempt)
    if attempt["error"] is not None:
        check_error(attempt["error"])


def check_error(error):
    check_fields(ERROR, error, "an error")
    check(error["phase"] in PHASES, "phase", error)
    check(error["message"], "an error without a message", error)


def check_headers(headers):
    for name, values in headers.items():
        check(name == name.lower(), "a header's name", name)
        check(isinstance(values, list) and all(isinstance(value, str) for value in values),
              "a header's values", values)


def check_job(job):
    """What holds for every job that is shown whole."""
    check_fields(JOB, job, "a job")
    check(UUID7.fullmatch(job["id"]), "no UUIDv7", job["id"])
    check(job["state"] in STATES, "state", job["state"])
    if job["request"] is not None:
        check_fields(REQUEST, job["request"], "a request")
        check_headers(job["request"]["headers"] or {})
    if job["result"] is not None:
        check_fields(RESULT, job["result"], "a result")
        check_headers(job["result"]["headers"])
    for attempt in job["attempts"]:
        check_attempt(attempt)
    ended = job["state"] in ENDED
    check((job["finished_at"] is not None) == ended, "finished_at", job)
    if job["state"] in ("succeeded", "failed"):
        check((job["error"] is not None) == (job["state"] == "failed"), "error", job)
    if job["error"] is not None:
        check_error(job["error"])
    check_times(job)


def check_times(job):
    created = instant(job["created_at"])
    if job["started_at"] is not None:
        started = instant(job["started_at"])
        due = instant(job["due_at"]) if job["due_at"] and job["step"] in ("request", "deliver") \
            else created
        check(started >= created, "started before it was created", job)
        check(job["queued_ms"] >= 0, "queued_ms", job)
        check(job["queued_ms"] <= (started - min(created, due)) * 1000 + 2, "queued_ms", job)
    if job["state"] in ("succeeded", "failed"):
        finished = instant(job["finished_at"])
        if job["started_at"] is None:  # it never was, or a delivery was not delivered
            check(job["state"] == "failed", "succeeded without a start", job)
            check(job["run_ms"] is None, "run_ms", job)
        else:
            check(abs(job["run_ms"] - (finished - started) * 1000) < 2, "run_ms", job)
        check(abs(job["total_ms"] - (finished - created) * 1000) < 2, "total_ms", job)


def check_batch(batch):
    check_fields(BATCH, batch, "a batch")
    check_fields(COUNTS, batch["counts"], "counts")
    counts = batch["counts"]
    check(sum(counts[state] for state in STATES) == counts["total"], "counts", counts)
    check(batch["state"] in ("running", *ENDED), "state", batch)
    check((batch["state"] == "running") == (batch["finished_at"] is None), "finished_at", batch)
