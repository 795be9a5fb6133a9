// Copied beside the compiled module and run as: node scenarios.mjs NAME, with JSON on stdin. Prints one line of JSON.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { ModalClient as Modal } from "modal";
import { Characters } from "./src/characters.js";
import { ModalJobRunner } from "./src/jobRunner.js";
import { ModalClient, RylaError } from "./src/ryla.js";

const name = process.argv[2];
const given = JSON.parse(readFileSync(0, "utf8"), (_key, value) => (value?.$bytes ? Buffer.from(value.$bytes, "base64") : value?.$whole ? BigInt(value.$whole) : value));
const small = { prompt: "a red fox in the snow", width: 256, height: 256, steps: 2 };
const long = { ...small, width: 768, height: 768, steps: 50, batchSize: 4 };
const longer = { ...long, width: 2048, height: 2048 }; // is stopped before its end, however late that is

const scenarios = {
  generate: (ryla) => ryla.generate(given.workflow, given.options, given.call),
  submit: (ryla) => ryla.submit(given.workflow, given.options),
  poll: (ryla) => ryla.poll(given.callId, given.job),
  wait: (ryla) => ryla.wait(given, given.options),
  cancel: (ryla) => ryla.cancel(given),
  families: (ryla) =>
    Promise.all([
      ryla.generateWan2({ ...small, length: 5 }),
      ryla.generateSeedVR2({ image: given.face, resolution: 512 }),
      ryla.generateWorkflow({ graph: given.graph }),
    ]),
  async states(ryla) {
    // A job far longer than any pause between two polls is seen running, on any machine, and stopped then; a short one is seen to its end.
    const slow = await polled(ryla, await ryla.submit("flux", longer), ["queued"]);
    await ryla.cancel(slow);
    const quick = await polled(ryla, await ryla.submit("flux", small), ["queued", "running"]);
    return { slow: slow.seen, quick: quick.seen, result: quick.now.result };
  },
  async characters(ryla) {
    const runner = new Characters(ryla, given.settings);
    const job = await runner[given.method](...given.arguments);
    if (given.cancel) await runner.cancel(job);
    for (;;) {
      const now = await runner.status(JSON.parse(JSON.stringify(job)));
      if (now.state !== "queued" && now.state !== "running") return now;
      await sleep(100);
    }
  },
  jobId: (ryla) => new ModalJobRunner(ryla, given.settings)[given.method](given.input),
  async jobStatus(ryla) {
    const runner = new ModalJobRunner(ryla);
    const seen = [];
    for (;;) {
      const now = await runner.getJobStatus(given.id);
      if (seen.at(-1) !== now.status) seen.push(now.status);
      if (!["IN_QUEUE", "IN_PROGRESS"].includes(now.status)) return { seen, ...now };
      if (now.status === given.cancelAt) await runner.cancelJob(given.id);
      await sleep(50);
    }
  },
  async events(ryla) {
    const events = [];
    const { job } = await ryla.generateFlux({ ...long, steps: 30 }, { previews: true, onEvent: (event) => events.push(event) });
    return { job, events };
  },
  async abort(ryla) {
    const controller = new AbortController();
    const onEvent = (event) => event.type === "progress" && controller.abort();
    return ryla.generateFlux(longer, { signal: controller.signal, onEvent });
  },
  async canceled(ryla) {
    const { job, callId } = await ryla.submit("flux", longer);
    await ryla.cancel({ job, callId });
    return { poll: await ryla.poll(callId, job), waited: await ryla.wait({ job, callId }).catch(plainError) };
  },
  async twice() {
    // The same job is sent twice, as after an answer that was lost; the second call finds it claimed.
    const modal = new Modal();
    const ryla = new ModalClient({ modal });
    const method = (await (await modal.cls.fromName("ryla-comfyui", "Flux")).instance()).method("flux");
    const request = { contract: 2, job: given.job, inputs: { ...small, seed: undefined } };
    const calls = [await method.spawn([request]), await method.spawn([request])];
    const results = await Promise.all(calls.map((call) => ryla.wait({ job: given.job, callId: call.functionCallId })));
    modal.close();
    return { seeds: results.map((result) => result.seed), jobs: results.map((result) => result.job) };
  },
  async many(ryla) {
    const results = await Promise.all(given.seeds.map((seed) => ryla.generateFlux({ ...small, steps: 1, seed: Number(seed) })));
    return results.map((result) => result.seed);
  },
  async crowded(ryla) {
    // The only container holds five inputs, so that a sixth one waits.
    const busy = [];
    for (let index = 0; index < 5; index += 1) busy.push(await ryla.submit("flux", long));
    const answer = await ryla.generateFlux(small).catch(plainError);
    await Promise.all(busy.map((one) => ryla.cancel(one)));
    return answer;
  },
};

async function polled(ryla, { job, callId }, while_) {
  const seen = [];
  for (;;) {
    const now = await ryla.poll(callId, job);
    if (seen.at(-1) !== now.state) seen.push(now.state);
    if (!while_.includes(now.state)) return { job, callId, seen, now };
    await sleep(50);
  }
}

function plainError(error) {
  if (!(error instanceof RylaError)) throw error;
  const { code, httpStatus, message, hint, details } = error;
  return { error: { code, httpStatus, message, hint, details } };
}

function simple(_key, value) {
  if (typeof value === "bigint") return `${value}n`;
  if (value?.type === "Buffer") return { $bytes: Buffer.from(value.data).toString("base64") };
  return value instanceof RylaError ? plainError(value).error : value;
}

const ryla = new ModalClient(given.client);
const answer = await scenarios[name](ryla).catch(plainError);
ryla.close();
console.log(JSON.stringify(answer ?? null, simple));
