/** Reads the golden files that Python reads too, copied into one: every shape that crosses a process is the same on both sides. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { HTTP_STATUS, readEvent, readReply, RylaError, SDK, writeRequest, type InstantIDOptions } from "../src/ryla.js";

const file = join(import.meta.dirname, "../../test/golden.json"); // as seen from dist/test
const golden = JSON.parse(readFileSync(file, "utf8"), revive) as Record<string, unknown>;

function revive(_key: string, value: unknown): unknown {
  const coded = typeof value === "object" && value !== null && "$bytes" in value ? value.$bytes : undefined;
  return typeof coded === "string" ? Buffer.from(coded, "base64") : value;
}

function rejected(data: unknown): RylaError {
  try {
    readReply(data);
  } catch (error) {
    assert.ok(error instanceof RylaError);
    return error;
  }
  return assert.fail("it was read as a result");
}

test("a request is written as the golden one", () => {
  const options: InstantIDOptions = {
    prompt: "a fox",
    negativePrompt: "deformed, glitch, noisy, watermark, text",
    width: 1016,
    height: 1016,
    steps: 30,
    cfg: 4.5,
    seed: 7,
    referenceImage: Buffer.from("\x89PNG", "latin1"),
    instantidStrength: 0.8,
    controlnetStrength: 0.8,
    faceProvider: "CPU",
    batchSize: 1,
    outputFormat: "png",
    sampler: "ddpm",
    scheduler: "karras",
    checkpoint: "RealVisXL_V5.0_fp16.safetensors",
  };
  const request = writeRequest(options, "7f0c3a52-8d7e-4f5e-9b1a-2f6f1f0a9c11", { events: true, previews: false, measureConsistency: false });
  assert.deepEqual(request, { ...(golden["request"] as object), sdk: SDK });
});

test("the golden reply becomes a result", () => {
  const result = readReply(golden["reply"]);
  assert.deepEqual(result.image, Buffer.from("\x89PNG", "latin1"));
  assert.deepEqual(result.video, Buffer.from("\0mp4", "latin1"));
  assert.deepEqual([result.images.length, result.videos.length], [1, 1]);
  assert.deepEqual(result.outputs[1], {
    kind: "video", mediaType: "video/mp4", name: "wan2-7-0.mp4", data: result.video, width: 832, height: 480, frames: 33, fps: 16, node: "12",
  });
  assert.deepEqual(result.outputs[3], {
    kind: "text", mediaType: "text/plain", name: "workflow-7-3.txt", data: Buffer.from("a fox in the snow"), text: "a fox in the snow", node: "15",
  });
  assert.deepEqual([result.audios, result.texts], [[Buffer.from("fLaC")], ["a fox in the snow"]]);
  assert.deepEqual([result.workflow, result.job, result.seed], ["flux_dev", "7f0c3a52-8d7e-4f5e-9b1a-2f6f1f0a9c11", 7]);
  assert.deepEqual(result.timings, {
    queued: 0.2, coldStart: 0, running: 11.3, total: 11.9, cold: { boot: 0, restore: 2.5, weights: 9, load: undefined }, restored: true,
  });
  assert.deepEqual(result.cost, {
    totalUsd: 0.0061, gpuUsd: 0.0058, cpuUsd: 0.0002, memoryUsd: 0.0001, gpu: "L40S", gpuSeconds: 11.3, pricesAsOf: "2026-09-01", regionFactor: 1,
  });
  assert.equal(result.costUsd, 0.0061);
  assert.deepEqual(result.warnings, [{ code: "negative_prompt_ignored", message: "It has no effect." }]);
  assert.equal(result.inputs["guidance"], 3.5);
  assert.deepEqual(result.graph, { "1": { class_type: "SaveImage", inputs: {} } });
  assert.equal(result.server["container"], "ta-1");
});

test("an uploaded file of the golden reply has an address, and is no Buffer", () => {
  const result = readReply(golden["reply_uploaded"]);
  assert.deepEqual(result.outputs[0], {
    kind: "image",
    mediaType: "image/png",
    name: "flux_dev-7-0.png",
    url: "https://bucket.example/flux_dev-7-0.png",
    sha256: "0f4636c78f65d3639ece5a064b5ae753e3408614a14fb18ab4d7540d2c248543",
    size: 4,
    width: 1024,
    height: 1024,
    node: "9",
  });
  assert.deepEqual([result.image, result.images], [undefined, []]);
  assert.deepEqual([result.videos.length, result.audios.length, result.texts], [1, 1, ["a fox in the snow"]]);
});

test("the golden error reply becomes a typed error", () => {
  const error = rejected(golden["error_reply"]);
  assert.deepEqual([error.code, error.httpStatus, error.message, error.hint], ["face_not_found", 400, "No face.", "Use another picture."]);
  assert.deepEqual(error.details, { node_id: "60" });
});

test("every error code is known, with its HTTP status", () => {
  assert.deepEqual({ ...HTTP_STATUS }, golden["error_codes"]);
});

test("every golden event is read, with nothing lost", () => {
  const job = "7f0c3a52-8d7e-4f5e-9b1a-2f6f1f0a9c11";
  const at = "2026-11-21T08:00:00.000Z";
  const names = Object.keys(golden).filter((name) => name.startsWith("event_"));
  assert.deepEqual(Object.fromEntries(names.map((name) => [name, readEvent(golden[name])])), {
    event_queued: { job, at, seq: 0, type: "queued", position: 2 },
    event_started: { job, at, seq: 1, type: "started", coldStart: 0 },
    event_progress: { job, at, seq: 2, type: "progress", fraction: 0.35, step: 7, steps: 20, node: "KSampler" },
    event_preview: { job, at, seq: 3, type: "preview", mediaType: "image/jpeg", data: Buffer.from([0xff, 0xd8]) },
    event_finished: { job, at, seq: 4, type: "finished", state: "succeeded" },
  });
});

test("a newer app may say more, and another contract is refused", () => {
  const reply = golden["reply"] as { generation: object };
  assert.equal(readReply({ ...reply, later: 1, generation: { ...reply.generation, later: 1 } }).seed, 7);
  assert.equal(readEvent({ type: "telepathy" }), undefined);
  assert.match(rejected({ ...reply, contract: 3 }).hint, /This module is older/);
  assert.match(rejected({ ...reply, contract: 0 }).hint, /ryla-gen deploy/);
  assert.equal(rejected({ ok: false, error: { code: "later", message: "x", http_status: 418 } }).httpStatus, 418);
  for (const nonsense of [undefined, null, [], "text", { contract: 1, ok: true }]) assert.equal(rejected(nonsense).code, "contract_mismatch");
});
