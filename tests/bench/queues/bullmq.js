// BullMQ as a durable fetcher: the jobs added in bulk, one worker in this process, undici.
//
//   node bullmq.js PORT REQUESTS URL...        PORT: of a Redis that holds nothing yet
//
// A job keeps what its worker returned, as it does by default: status and length here, not the body
// (the daemon keeps that too). Time runs from the first addBulk() to the last job completed.
import { Queue, Worker } from "bullmq";
import IORedis from "ioredis";
import { Agent, request, setGlobalDispatcher } from "undici";

const ADDED_AT_ONCE = 1000;
const AT_ONCE = 50; // what was fastest on two cores
const CONNECTIONS = 32; // of each origin

const [port, requests, ...urls] = process.argv.slice(2);
const total = Number(requests);
setGlobalDispatcher(new Agent({ connections: CONNECTIONS }));

function connect() {
    return new IORedis({ host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null });
}

async function fetchOne(job) {
    const answer = await request(job.data.url);
    const body = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
    return { status: answer.statusCode, bytes: body.length };
}

async function addAll(queue) {
    for (let first = 0; first < total; first += ADDED_AT_ONCE) {
        const jobs = [];
        for (let i = first; i < Math.min(first + ADDED_AT_ONCE, total); i++)
            jobs.push({ name: "fetch", data: { url: urls[i % urls.length] } });
        await queue.addBulk(jobs);
    }
}

const connections = [connect(), connect()];
const queue = new Queue("fetches", { connection: connections[0] });
await queue.waitUntilReady();
const worker = new Worker("fetches", fetchOne,
    { connection: connections[1], concurrency: AT_ONCE });
await worker.waitUntilReady();

let ended = 0;
let bytes = 0;
const startup = process.cpuUsage();
const begun = process.hrtime.bigint();
const all = new Promise((resolve) => {
    worker.on("completed", (job, result) => {
        bytes += result.bytes;
        if (++ended === total) resolve();
    });
    worker.on("failed", () => {
        if (++ended === total) resolve();
    });
});
await addAll(queue);
await all;
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
const counts = await queue.getJobCounts("completed");
console.log(JSON.stringify({
    requests: total, failed: total - counts.completed, bytes, seconds,
    startup_cpu: (startup.user + startup.system) / 1e6,
}));
await worker.close();
await queue.close();
connections.forEach((connection) => connection.disconnect());
