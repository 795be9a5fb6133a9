/** The NestJS provider makes the adapter that the environment names, and no other. */
import "reflect-metadata";
import assert from "node:assert/strict";
import test from "node:test";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { JOB_RUNNER, jobRunnerProvider, ModalJobRunnerAdapter } from "../src/examples/nestProvider.js";
import type { RunPodJobRunner, RunPodJobStatus } from "../src/jobRunner.js";
import { RylaError } from "../src/ryla.js";

const made: string[] = [];

class Adapter implements RunPodJobRunner {
  constructor() {
    made.push(this.constructor.name);
  }
  submitBaseImages = (): Promise<string> => Promise.resolve(this.constructor.name);
  submitFaceSwap = this.submitBaseImages;
  submitCharacterSheet = this.submitBaseImages;
  getJobStatus = (): Promise<RunPodJobStatus> => Promise.resolve({ status: "IN_QUEUE" });
}
class Pod extends Adapter {}
class RunPod extends Adapter {}

@Module({ providers: [jobRunnerProvider({ pod: Pod, runpod: RunPod }, { outputTo: "https://bucket.example/x?signature=y" })] })
class AppModule {}

async function runnerIn(environment: Record<string, string>): Promise<RunPodJobRunner> {
  for (const name of ["COMFYUI_POD_URL", "MODAL_WORKSPACE"]) delete process.env[name];
  Object.assign(process.env, environment);
  made.length = 0;
  const app = await NestFactory.createApplicationContext(AppModule, { logger: false, abortOnError: false });
  const runner = app.get<RunPodJobRunner>(JOB_RUNNER);
  await app.close();
  return runner;
}

test("a pod comes first, then Modal, then RunPod", async () => {
  const pod = { COMFYUI_POD_URL: "http://pod:8188" };
  const modal = { MODAL_WORKSPACE: "ryla" };
  assert.ok((await runnerIn({ ...pod, ...modal })) instanceof Pod);
  assert.ok((await runnerIn(pod)) instanceof Pod);
  assert.ok((await runnerIn(modal)) instanceof ModalJobRunnerAdapter);
  assert.deepEqual(made, []);
  assert.ok((await runnerIn({})) instanceof RunPod);
  assert.deepEqual(made, ["RunPod"]);
});

test("the options reach Modal's adapter", async () => {
  const runner = await runnerIn({ MODAL_WORKSPACE: "ryla" });
  const refused = (error: unknown): boolean => error instanceof RylaError && /one file of one job/.test(error.message);
  await assert.rejects(runner.submitBaseImages({ prompt: "x", nsfw: false }), refused);
});
