// graphile-worker with the batching that its performance page documents: a local queue of 500 and batched completion.
// Called by graphile.sh: graphile.mjs MODULES CONNECTION TASKS CLAIMANTS RECLAIM_SECONDS
// `graphile.mjs … hold` is the worker that takes jobs and is killed.
import { createRequire } from "node:module";
import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { fileURLToPath } from "node:url";

const [modules, connectionString, tasks, claimants, reclaimSeconds, role] = process.argv.slice(2);
const require = createRequire(`${modules}/package.json`);
const { run, makeWorkerUtils, Logger } = require("graphile-worker");
const { Pool } = require("pg");
const n = Number(tasks);
const vendors = ["alpaca", "massive", "tiingo", "files"];
const logger = new Logger(() => () => {});
const preset = {
  worker: {
    connectionString,
    concurrentJobs: Number(claimants),
    maxPoolSize: Number(claimants) + 2,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger,
  },
};
const taskList = (f) => Object.fromEntries(vendors.map((v) => [v, f]));
const pool = new Pool({ connectionString });
pool.on("error", () => {});
const one = async (text) => Number((await pool.query(text)).rows[0].n);
const left = () => one("select count(*) n from graphile_worker._private_jobs");

async function hold() {
  await run({ preset, noHandleSignals: true, taskList: taskList(async () => {
    process.stdout.write("held\n");
    await new Promise(() => {});
  }) });
  setInterval(() => {}, 1000);
}

async function enqueue(count) {
  // One call of add_jobs, as its documentation advises for many jobs.
  await pool.query(
    `select count(*) from graphile_worker.add_jobs(array(
       select row($1::text[][1 + i % 4], json_build_object('symbol', 'S' || i / 100, 'day', i % 100), null, null, null, null,
                  null, null)::graphile_worker.job_spec from generate_series(0, $2::int - 1) i))`
      .replace("$1::text[][1 + i % 4]", "($1::text[])[1 + i % 4]"), [vendors, count]);
}

async function throughput() {
  const asked = new Map();
  const waits = [];
  const events = new EventEmitter();
  events.on("worker:getJob:start", ({ worker }) => asked.set(worker, performance.now()));
  events.on("job:start", ({ worker }) => waits.push(performance.now() - (asked.get(worker) ?? performance.now())));
  // A fetch of the local queue: from its turn to polling until the jobs are there.
  const fetches = [];
  let fetching = 0;
  events.on("localQueue:setMode", ({ newMode }) => { if (newMode === "POLLING") fetching = performance.now(); });
  events.on("localQueue:getJobs:complete", ({ jobs }) => { if (jobs.length > 0) fetches.push(performance.now() - fetching); });
  let done = 0;
  const finished = new Promise((resolve) => events.on("job:complete", () => ++done >= n && resolve()));
  const begun = performance.now();
  const runner = await run({ preset, events, noHandleSignals: true, taskList: taskList(async () => {}) });
  await finished;
  // The last completions are in the database, not only in a batch that is to be written.
  await runner.stop();
  const seconds = (performance.now() - begun) / 1000;
  if ((await left()) !== 0) throw new Error("jobs are left");
  const at = (all, share) => all.sort((a, b) => a - b)[Math.round((all.length - 1) * share)];
  return {
    tasks_per_second: n / seconds, claim_p50_ms: at(waits, 0.5), claim_p99_ms: at(waits, 0.99),
    batch_p50_ms: at(fetches, 0.5), batch_p99_ms: at(fetches, 0.99), batches: fetches.length, tasks_a_batch: n / fetches.length,
  };
}

/// Seconds from the kill of a worker until a job of it runs again; the bound where it does not.
async function reclaim() {
  await enqueue(Number(claimants));
  const words = [fileURLToPath(import.meta.url), ...process.argv.slice(2, 7), "hold"];
  const held = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => held.stdout.once("data", resolve));
  held.kill("SIGKILL");
  const begun = performance.now();
  await new Promise((resolve) => held.once("exit", resolve));
  const bound = Number(reclaimSeconds) * 1000;
  let timer;
  let again;
  const reran = new Promise((resolve) => { again = resolve; timer = setTimeout(() => resolve(false), bound); });
  const runner = await run({ preset, noHandleSignals: true, taskList: taskList(async () => again(true)) });
  const seen = await reran;
  clearTimeout(timer);
  const seconds = (performance.now() - begun) / 1000;
  await runner.stop();
  return { reclaim_seconds: seen ? seconds : bound / 1000, reclaimed: seen };
}

if (role === "hold") {
  await hold();
} else {
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  await utils.release();
  const begun = performance.now();
  await enqueue(n);
  const enqueued = n / ((performance.now() - begun) / 1000);
  const speed = await throughput();
  const after = Number(reclaimSeconds) > 0 ? await reclaim() : {};
  console.log(JSON.stringify({ enqueue_per_second: enqueued, ...speed, ...after }));
  await pool.end();
  process.exit(0);
}
