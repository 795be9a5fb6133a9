/** Read by the compiler, never run: right calls compile, and wrong ones do not (an unused `expect-error` is itself an error). */
import type { Poll, RylaEvent } from "../src/ryla.js";
import { ModalClient } from "../src/ryla.js";
import { ModalJobRunner } from "../src/jobRunner.js";

export async function calls(ryla: ModalClient): Promise<void> {
  const picture: Buffer = (await ryla.generateFluxDev({ prompt: "x", seed: 7n, sampler: "euler", negativePrompt: undefined })).image;
  const video: Buffer = (await ryla.generateWan2({ prompt: "x" }, { timeoutMs: 1, signal: AbortSignal.abort() })).video;
  const maybe: Buffer | undefined = (await ryla.generateWorkflow({ graph: {} })).image;
  const named: Buffer = (await ryla.generate("flux", { prompt: "x" })).image;
  const uploaded: string | undefined = (await ryla.generateFlux({ prompt: "x" }, { outputTo: "s3://bucket/x", webhook: "https://x" })).outputs[0]?.url;
  void [picture, video, maybe, named, uploaded];
  // @ts-expect-error what goes to a bucket is no Buffer for sure
  const elsewhere: Buffer = (await ryla.generateFlux({ prompt: "x" }, { outputTo: ["https://bucket.example/x?signature"] })).image;
  void elsewhere;
  // @ts-expect-error a prompt is required
  await ryla.generateFluxDev({});
  // @ts-expect-error a string is no seed
  await ryla.generateFluxDev({ prompt: "x", seed: "7" });
  // @ts-expect-error no such sampler
  await ryla.generateFluxDev({ prompt: "x", sampler: "fastest" });
  // @ts-expect-error guidance is FLUX.1 dev's
  await ryla.generateFlux({ prompt: "x", guidance: 3 });
  // @ts-expect-error a path is no picture
  await ryla.generateFluxInstantID({ prompt: "x", referenceImage: "face.png" });
  // @ts-expect-error a video workflow gives no picture for sure
  const wrong: Buffer = (await ryla.generateWan2({ prompt: "x" })).image;
  // @ts-expect-error no such workflow
  await ryla.submit("flux_max", { prompt: "x" });
  void wrong;
}

export function told(poll: Poll, event: RylaEvent): number {
  if (event.type === "progress") return event.fraction;
  return poll.state === "running" ? poll.fraction : poll.state === "failed" ? poll.error.httpStatus : 0;
}

/** A backend's own declaration: whatever it calls it, the runner fits. */
interface BackendsRunner {
  submitBaseImages(input: { prompt: string; nsfw: boolean; seed?: number; useZImage?: boolean }): Promise<string>;
  submitFaceSwap(input: { baseImageUrl: string; prompt: string; nsfw: boolean; seed?: number }): Promise<string>;
  submitCharacterSheet(input: { baseImageUrl: string; nsfw: boolean; angles?: string[] }): Promise<string>;
  getJobStatus(jobId: string): Promise<{ status: "IN_QUEUE" | "IN_PROGRESS" | "COMPLETED" | "FAILED" | string; output?: unknown; error?: string }>;
}

export const runner: BackendsRunner = new ModalJobRunner();
export class Adapter extends ModalJobRunner implements BackendsRunner {}
