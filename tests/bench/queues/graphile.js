// graphile-worker as a durable fetcher: the jobs added with add_jobs(), one worker pool in this
// process, undici.
//
//   node graphile.js [--batching] PORT REQUESTS URL...
//
// PORT is that of a PostgreSQL whose "postgres" holds nothing yet. --batching: jobs are taken 500
// at a time and completions written together, which the defaults do not: after a crash more jobs
// that were done are done again. It deletes a job that has succeeded and keeps no result. Time runs
// from the first add_jobs() until the table of jobs is empty.
import { run } from "graphile-worker";
import pg from "pg";
import { Agent, request, setGlobalDispatcher } from "undici";

const ADDED_AT_ONCE = 1000;
const CONNECTIONS = 32; // of each origin
const POOL = 10;
const POLL_MS = 5;
const IDLE_MS = 50; // the default of 2 s lets all workers but one sleep on when jobs come

const batching = process.argv[2] === "--batching";
// What was fastest on two cores; without batching each job is two statements, on POOL connections.
const AT_ONCE = batching ? 50 : 10;
const [port, requests, ...urls] = process.argv.slice(batching ? 3 : 2);
const total = Number(requests);
setGlobalDispatcher(new Agent({ connections: CONNECTIONS }));

const pool = new pg.Pool({
    host: "127.0.0.1", port: Number(port), user: "bench", database: "postgres", max: POOL,
});
pool.on("error", console.error);
pool.on("connect", (client) => client.on("error", console.error));
let succeeded = 0;
let bytes = 0;

async function fetchOne(payload) {
    const answer = await request(payload.url);
    const body = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
    succeeded++;
    bytes += body.length;
}

async function addAll() {
    for (let first = 0; first < total; first += ADDED_AT_ONCE) {
        const jobs = [];
        for (let i = first; i < Math.min(first + ADDED_AT_ONCE, total); i++)
            jobs.push({ identifier: "fetch", payload: { url: urls[i % urls.length] } });
        await pool.query(
            `select count(*) from graphile_worker.add_jobs((select array_agg(s) from
                json_populate_recordset(null::graphile_worker.job_spec, $1) s))`,
            [JSON.stringify(jobs)]);
    }
}

async function left() {
    const answer = await pool.query("select count(*)::int as n from graphile_worker._private_jobs");
    return answer.rows[0].n;
}

const silent = { debug() {}, info() {}, warn: console.error, error: console.error };
const { Logger } = await import("@graphile/logger");
const runner = await run({
    pgPool: pool,
    taskList: { fetch: fetchOne },
    noHandleSignals: true,
    logger: new Logger(() => (level, message) => silent[level] && silent[level](message)),
    preset: {
        worker: {
            concurrentJobs: AT_ONCE,
            pollInterval: IDLE_MS,
            ...(batching && {
                localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0,
            }),
        },
    },
});

const startup = process.cpuUsage();
const begun = process.hrtime.bigint();
await addAll();
while (succeeded < total || (await left()) > 0)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
console.log(JSON.stringify({
    requests: total, failed: total - succeeded, bytes, seconds,
    startup_cpu: (startup.user + startup.system) / 1e6,
}));
await runner.stop();
await pool.end();
