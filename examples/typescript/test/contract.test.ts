/** What crosses to Python and back: names, numbers, bytes, and what is refused before anything is sent. */
import assert from "node:assert/strict";
import test from "node:test";
import { isAmbiguous, readReply, RylaError, translated, writeRequest } from "../src/ryla.js";
import { pickled, unpickled } from "../src/claims.js";
import { NotFoundError, RemoteError } from "modal";

function inputs(options: object): Record<string, unknown> {
  return writeRequest(options, "job", { events: true, previews: false, measureConsistency: false })["inputs"] as Record<string, unknown>;
}

function refused(options: object): string {
  try {
    inputs(options);
  } catch (error) {
    assert.ok(error instanceof RylaError && error.code === "invalid_input" && error.httpStatus === 400);
    return error.message;
  }
  return assert.fail("it was written");
}

function grpc(code: number): Error {
  return Object.assign(new Error("said by gRPC"), { code });
}

test("fields get their Python names, and the keys of a graph stay as they are", () => {
  const graph = { "3": { classType: 1, inputs: { noiseSeed: 2 } } };
  assert.deepEqual(inputs({ graph, referenceImage: new Uint8Array([1]), loras: [{ id: "a", strength: 0.5 }] }), {
    graph,
    reference_image: new Uint8Array([1]),
    loras: [{ id: "a", strength: 0.5 }],
  });
});

test("undefined is dropped, however deep", () => {
  assert.deepEqual(inputs({ prompt: "x", seed: undefined, loras: [{ id: "a", strength: undefined }] }), { prompt: "x", loras: [{ id: "a" }] });
});

test("whole numbers above 2^32 travel as bigints, since CBOR would make floats of them", () => {
  assert.deepEqual(inputs({ a: 2 ** 32 - 1, b: 2 ** 32, c: 2n ** 64n - 1n, d: 7n, e: 0.5, graph: { "1": { inputs: { seed: 2 ** 50 } } } }), {
    a: 4294967295,
    b: 4294967296n,
    c: 18446744073709551615n,
    d: 7n,
    e: 0.5,
    graph: { "1": { inputs: { seed: 2n ** 50n } } },
  });
});

test("what would not arrive as it was meant is refused, with its place", () => {
  assert.match(refused({ seed: 2 ** 53 }), /^seed is above 2\^53/);
  assert.match(refused({ seed: 2n ** 64n }), /^seed is outside 64 bits/);
  assert.match(refused({ cfg: Number.NaN }), /^cfg is NaN/);
  assert.match(refused({ graph: { "1": { when: new Date() } } }), /^graph\.1\.when is no plain data \(Date\)/);
  assert.match(refused({ loras: [{ id: () => "a" }] }), /^loras\[0\]\.id is no plain data \(function\)/);
});

test("64-bit numbers of a reply become numbers where a number is exact", () => {
  const generation = { workflow: "flux_dev", seed: 2n ** 40n, outputs: [], graph: { "1": { inputs: { seed: 2n ** 64n - 1n, other: 5n } } } };
  const result = readReply({ contract: 1n, ok: true, generation });
  assert.equal(result.seed, 2 ** 40);
  assert.deepEqual(result.graph, { "1": { inputs: { seed: 2n ** 64n - 1n, other: 5 } } });
  assert.equal(readReply({ ok: true, generation: { seed: 2n ** 63n } }).seed, 2n ** 63n);
});

test("a bucket and a webhook stand in a request where they are asked for", () => {
  const asked = { events: true, previews: false, measureConsistency: false };
  const plain = { events: true, previews: false, measure_consistency: false };
  const options = (more: object): unknown => writeRequest({}, "job", { ...asked, ...more })["options"];
  assert.deepEqual(options({}), plain);
  assert.deepEqual(options({ outputTo: undefined, webhook: undefined, webhookPrompt: undefined }), plain);
  const outputTo = ["https://bucket.example/1?signature=x", "https://bucket.example/2?signature=y"];
  const webhook = "https://example.com/hook";
  assert.deepEqual(options({ outputTo, webhook, webhookPrompt: true }), { ...plain, output_to: outputTo, webhook, webhook_prompt: true });
  assert.deepEqual(options({ outputTo: "s3://bucket/prefix" }), { ...plain, output_to: "s3://bucket/prefix" });
});

test("Modal's exceptions become typed errors that say what to do", () => {
  const cases: [unknown, string, RegExp][] = [
    [new NotFoundError("no such class"), "not_deployed", /ryla-gen deploy/],
    [new RemoteError("Remote error: ServerUnhealthyError('ComfyUI died')"), "server_unhealthy", /ryla-gen jobs logs/],
    [new RemoteError("Remote error: InternalError('CancelledError')"), "server_unhealthy", /ryla-gen jobs logs/],
    [new RemoteError("Remote error: "), "preempted", /Send it again/],
    [new RemoteError("Remote error: Input was canceled by user"), "job_canceled", /again/],
    [new Error("Profile is missing credentials. Please set them"), "not_authorized", /modal token new/],
    [grpc(16), "not_authorized", /modal token new/],
    [grpc(14), "backend_unreachable", /network/],
    [new TypeError("fetch failed"), "backend_unreachable", /network/],
    [new Error("?"), "internal", /report/],
  ];
  for (const [thrown, code, hint] of cases) {
    const error = translated(thrown, "Calling flux");
    assert.equal(error.code, code);
    assert.match(error.hint, hint);
    assert.equal(error.cause, thrown);
  }
  const own = new RylaError({ code: "later", message: "x", hint: "" });
  assert.equal(translated(own, "Calling flux"), own);
  assert.equal(own.httpStatus, 500);
  assert.deepEqual([14, 4, 16, 5].map((code) => isAmbiguous(grpc(code))), [true, true, false, false]);
});

test("strings are pickled as Python does, for the keys of Modal's Dict", () => {
  const python = "80049506000000000000008c02c3a9942e"; // pickle.dumps("é", 4)
  assert.equal(pickled("\u00e9").toString("hex"), python);
  assert.equal(unpickled(Buffer.from(python, "hex")), "\u00e9");
  assert.equal(unpickled(Buffer.from("80044b012e", "hex")), undefined, "a number is no call");
  assert.equal(unpickled(Buffer.alloc(0)), undefined);
});
