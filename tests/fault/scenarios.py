"""What clients do, one small story each: prepared up to the yield, and then under the fault."""

import json

SCENARIOS = {}
BARE = {"kind": "delivery", "name": "quick"}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def fetch(story, path="/ok", **more):
    return {"kind": "fetch", "name": "quick", "url": story.origin.url(path), **more}


def getter(name, path):
    """A story that asks for one thing that needs no preparation."""
    def story_of(story):
        yield
        story.get(path)
    SCENARIOS[name] = story_of


for _name, _path in {
        "livez": "/livez", "readyz": "/readyz", "tasks": "/v1/tasks", "not_found": "/nowhere",
        "bad_query": "/v1/jobs?limit=x&state=y", "list_jobs": "/v1/jobs?limit=50",
        "list_filtered": "/v1/jobs?state=succeeded&kind=fetch&label=a:b&limit=5",
        "list_full": "/v1/jobs?full=true&limit=20", "list_batches": "/v1/batches",
        "unknown_job": "/v1/jobs/01a204cb-e2c6-7000-8210-67011b5cd7d0"}.items():
    getter(_name, _path)


def poster(name, make, query="?wait=3s", path="/v1/jobs"):
    """A story that posts one thing and waits for its end."""
    def story_of(story):
        body = make(story)
        yield
        story.post(path + query, body)
    SCENARIOS[name] = story_of


poster("fetch", fetch)
poster("fetch_posts", lambda s: fetch(s, "/echo", method="POST", body={"json": {"a": [1, 2]}},
                                      headers={"x-one": "1", "accept": "*/*"}))
poster("fetch_inline", lambda s: fetch(s, "/ok?size=20000"), "?wait=3s&body=inline")
poster("fetch_redirected", lambda s: fetch(s, "/redirect/302/3"))
poster("fetch_retried", lambda s: fetch(s, f"/flaky/{s.number}?fail=1",
                                        retry={"attempts": 3, "backoff": "5ms"}))
poster("fetch_large", lambda s: fetch(s, "/ok?size=300000"))
poster("fetch_chunked", lambda s: fetch(s, "/ok?size=20000&chunked"))
poster("fetch_refused", lambda s: {**fetch(s), "url": "http://127.0.0.1:9/"})
poster("fetch_reset", lambda s: fetch(s, "/reset/header"))
poster("fetch_by_name", lambda s: {**fetch(s),
                                   "url": f"http://localhost:{s.origin.port}/ok"})
poster("fetch_on_a_thread", lambda s: fetch(s, executor="thread"))
poster("fetch_in_a_process", lambda s: fetch(s, executor="process"))
poster("bare_delivery", lambda s: BARE)
poster("delivery", lambda s: {**BARE, "url": s.origin.url("/ok"), "payload": {"n": 1},
                              "wait": "5ms", "collect": {"url": s.origin.url("/ok?n=2")},
                              "labels": {"a": "b", "c": "d"}})
poster("invalid", lambda s: {"kind": "fetch", "url": "ftp://x", "timeout": "soon", "more": 1,
                             "headers": {"bad name": "x"}, "retry": {"attempts": 0}})
poster("not_json", lambda s: b'{"kind": "fetch",, }')
poster("gather", lambda s: {"run": "gather", "jobs": [fetch(s, f"/ok/{n}") for n in range(5)]},
       path="/v1/batches")
poster("sequence", lambda s: {"run": "sequence", "jobs": [fetch(s), BARE, fetch(s), BARE]},
       path="/v1/batches")


@scenario
def get_job(story):
    job = story.ended(fetch(story))
    yield
    story.get(f"/v1/jobs/{job}")


@scenario
def get_body(story):
    job = story.ended(fetch(story, "/ok?size=5000"))
    yield
    story.get(f"/v1/jobs/{job}/body")


@scenario
def get_large_body(story):
    job = story.ended(fetch(story, "/ok?size=300000"))
    yield
    story.get(f"/v1/jobs/{job}/body")


@scenario
def wait_for_job(story):
    job = story.waiting("20ms")
    yield
    story.get(f"/v1/jobs/{job}?wait=3s")


@scenario
def wait_in_vain(story):
    job = story.waiting("1h")
    yield
    story.get(f"/v1/jobs/{job}?wait=20ms")


@scenario
def cancel_job(story):
    job = story.waiting("1h")
    yield
    story.post(f"/v1/jobs/{job}/cancel")


@scenario
def cancel_running(story):
    job = story.started(fetch(story, f"/ok/{story.number}?ms=5000"))
    yield
    story.post(f"/v1/jobs/{job}/cancel")


@scenario
def cancel_batch(story):
    batch = story.batch({"run": "sequence", "jobs": [{**BARE, "wait": "1h"}] * 5})
    yield
    story.post(f"/v1/batches/{batch}/cancel")


@scenario
def get_batch(story):
    batch = story.batch({"run": "gather", "jobs": [BARE] * 5})
    yield
    story.get(f"/v1/batches/{batch}?wait=3s")


@scenario
def results(story):
    batch = story.batch({"run": "gather", "jobs": [{**BARE, "wait": "10ms"}] * 20})
    yield
    story.get(f"/v1/batches/{batch}/results")


@scenario
def bulk(story):
    lines = [fetch(story, f"/ok/{n}") if n % 2 else BARE for n in range(10)]
    yield
    story.lines(lines + ["no json", {"kind": "nothing"}])


@scenario
def bulk_large_line(story):
    yield
    story.lines([BARE, {**BARE, "payload": "x" * 200000, "url": story.origin.url("/ok")}])


@scenario
def chunked_upload(story):
    text = json.dumps({**BARE, "labels": {"a": "b"}}).encode()
    yield
    story.raw(b"POST /v1/jobs?wait=5s HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
              b"Content-Type: application/json\r\nConnection: close\r\n",
              b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n")


@scenario
def pipelined(story):
    yield
    story.raw(b"GET /livez HTTP/1.1\r\n", b"GET /v1/jobs HTTP/1.1\r\nConnection: close\r\nHost: "
              b"127.0.0.1:%d\r\n\r\n" % story.daemon.port)


@scenario
def vanish(story):
    job = story.waiting("20ms")
    yield
    story.leave(f"GET /v1/jobs/{job}?wait=3s HTTP/1.1\r\n".encode())
    story.get("/livez")
