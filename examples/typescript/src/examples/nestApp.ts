/** Base images from a NestJS application: node dist/src/examples/nestApp.js "a woman with red hair" [JOB_ID] */
import "reflect-metadata";
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Inject, Injectable, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import type { JobOutput, RunPodJobRunner } from "../jobRunner.js";
import { JOB_RUNNER, jobRunnerProvider } from "./nestProvider.js";

const missing = (): Promise<never> => Promise.reject(new Error("Here stands the adapter that your application has already."));
class YourAdapter implements RunPodJobRunner {
  submitBaseImages = missing;
  submitFaceSwap = missing;
  submitCharacterSheet = missing;
  getJobStatus = missing;
}

@Injectable()
class Pictures {
  constructor(@Inject(JOB_RUNNER) readonly runner: RunPodJobRunner) {}
}

@Module({ providers: [Pictures, jobRunnerProvider({ pod: YourAdapter, runpod: YourAdapter })] })
class AppModule {}

const [prompt = "portrait of a woman with red hair", kept] = process.argv.slice(2);
const app = await NestFactory.createApplicationContext(AppModule, { logger: ["error"] });
const { runner } = app.get(Pictures);
const jobId = kept ?? (await runner.submitBaseImages({ prompt, nsfw: false, seed: 7 }));
console.log(jobId);
let now = await runner.getJobStatus(jobId);
for (; now.status === "IN_QUEUE" || now.status === "IN_PROGRESS"; now = await runner.getJobStatus(jobId)) await sleep(500);
const { images = [] } = (now.output ?? {}) as Partial<JobOutput>;
for (const [index, image] of images.entries()) await writeFile(`base-${index + 1}.png`, Buffer.from(image.split(",")[1] ?? "", "base64"));
console.log(`${now.status}: ${now.error ?? `${images.length} base images`}`);
await app.close();
