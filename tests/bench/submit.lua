-- One job to a POST. Prints what tests/bench/submit reads; an answer that is no 2xx is an error.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = os.getenv("JOB")

function done(summary, latency)
    local e = summary.errors
    print(string.format('{"requests":%d,"failed":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d}', summary.requests,
        e.connect + e.read + e.write + e.status + e.timeout, summary.duration / 1e6,
        latency:percentile(50), latency:percentile(99)))
end
