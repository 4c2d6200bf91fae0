-- One address per thread: wrk itself knows one URL. Prints what the other fetchers print.
local threads = 0

function setup(thread)
    threads = threads + 1
    thread.addr = wrk.lookup("127.0.0." .. threads, wrk.port)[1]
end

function done(summary)
    local e = summary.errors
    print(string.format('{"requests":%d,"failed":%d,"wire_bytes":%d,"seconds":%.6f}', summary.requests,
        e.connect + e.read + e.write + e.status + e.timeout, summary.bytes, summary.duration / 1e6))
end
