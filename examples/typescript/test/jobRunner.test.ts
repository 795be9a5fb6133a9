/** The job runner where it needs no app: what it refuses, and what it says of ids that are none. */
import assert from "node:assert/strict";
import test from "node:test";
import { ModalJobRunner } from "../src/jobRunner.js";
import { RylaError } from "../src/ryla.js";

const runner = new ModalJobRunner();

async function refused(submission: Promise<string>): Promise<RylaError> {
  try {
    await submission;
  } catch (error) {
    assert.ok(error instanceof RylaError && error.code === "invalid_input");
    return error;
  }
  return assert.fail("it was submitted");
}

test("an id that is none is a failed job with an error", async () => {
  for (const id of ["", "modal_7f0c3a52-8d7e-4f5e-9b1a-2f6f1f0a9c11", "ryla_7f0c3a52-8d7e-4f5e-9b1a-2f6f1f0a9c11", "ryla_x.y", "../..", "[]"]) {
    assert.deepEqual(await runner.getJobStatus(id), { status: "FAILED", error: `No job has the id ${id}.` });
  }
});

test("a picture that cannot be read is refused, and no signature or picture is repeated", async () => {
  const swap = (baseImageUrl: string): Promise<string> => runner.submitFaceSwap({ baseImageUrl, prompt: "x", nsfw: false });
  assert.match((await refused(swap("face.png"))).message, /^The picture at face\.png cannot be read/);
  assert.match((await refused(swap("http://127.0.0.1:1/face.png?signature=secret"))).message, /127\.0\.0\.1:1\/face\.png cannot be read/);
  assert.doesNotMatch((await refused(swap("data:image/png;base64,?x"))).message, /base64/);
});

test("what the settings do not allow is refused before anything is sent", async () => {
  assert.match((await refused(runner.submitBaseImages({ prompt: "x", nsfw: true }))).hint, /RYLA_GEN_CHARACTERS_NSFW_CHECKPOINT/);
  const face = { baseImageUrl: "data:image/png;base64,iVBORw==", nsfw: false };
  assert.match((await refused(runner.submitCharacterSheet({ ...face, angles: ["front", "Front"] }))).message, /front was given twice/);
  assert.match((await refused(runner.submitCharacterSheet({ ...face, angles: [] }))).message, /1 to 16 angles/);
  const signed = new ModalJobRunner(undefined, { outputTo: "https://bucket.example/x?signature=secret" });
  assert.match((await refused(signed.submitBaseImages({ prompt: "x", nsfw: false }))).message, /one file of one job/);
});
