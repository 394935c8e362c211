// The peer's clients and worker: node peer.mjs MODULES SOCKETS SECONDS RESULT
// Adds jobs in tens while a worker runs a task that does nothing; waits until every job is done and its row gone.
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const [modules, host, seconds, result] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Logger, makeWorkerUtils, run } = await import(pathToFileURL(require.resolve("graphile-worker")));
const pg = require("pg");

const CLIENTS = 16;
const BODY = 200;
// Jobs at a time and local queue as in its own performance test, its documentation's batch delay, and a pause after
// fetches that do not fill the local queue: the best here of delays from 0 to 250 ms, local queues of 25 to 2000, 10 to
// 100 jobs at a time, pauses of 10 to 250 ms, one or two workers, and clients in a thread of their own.
const concurrentJobs = 24;
const localQueue = { size: 500, refetchDelay: { durationMs: 100, threshold: 400 } };
const worker = { concurrentJobs, localQueue, completeJobBatchDelay: 250, failJobBatchDelay: 250 };

const logger = new Logger(() => () => {});
const pool = (max) =>
  new pg.Pool({ host, port: 5432, user: "postgres", database: "postgres", ssl: false, max })
    .on("connect", (client) => client.on("error", () => {}))
    .on("error", () => {});

const pgPool = pool(CLIENTS);
const utils = await makeWorkerUtils({ pgPool, logger });
await utils.migrate();
let done = 0;
const runner = await run({
  pgPool: pool(concurrentJobs + 1),
  preset: { worker: { ...worker, logger } },
  taskList: { nothing: () => { done += 1; } },
  noHandleSignals: true,
});

const payload = { body: "x".repeat(BODY - JSON.stringify({ body: "" }).length) };
const ten = Array.from({ length: 10 }, () => ({ identifier: "nothing", payload }));
const begin = performance.now();
const elapsed = () => (performance.now() - begin) / 1000;
let added = 0;
const client = async () => {
  while (elapsed() < Number(seconds)) {
    await utils.addJobs(ten);
    added += ten.length;
  }
};
await Promise.all(Array.from({ length: CLIENTS }, client));
const some = "SELECT EXISTS (SELECT FROM graphile_worker._private_jobs) AS some";
while ((await pgPool.query(some)).rows[0].some) {
  await sleep(2);
}
const perSecond = added / elapsed();
if (done !== added) {
  throw new Error(`${added} jobs added, ${done} done`);
}

const { server } = (await pgPool.query("SELECT current_setting('server_version') AS server")).rows[0];
const { version } = require(`${modules}/node_modules/graphile-worker/package.json`);
const name = `graphile-worker ${version}, PostgreSQL ${server.split(" ")[0]}, local queue ${localQueue.size}`;
await runner.stop();
await utils.release();
await writeFile(result, JSON.stringify({ name, per_s: perSecond }));
process.exit(0);
