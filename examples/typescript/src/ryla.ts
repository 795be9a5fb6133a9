/**
 * ryla-gen from TypeScript: typed options in, Buffers out, through Modal's own SDK. Knows no GPU code and no ComfyUI.
 *
 * @example
 * const ryla = new ModalClient();
 * const { image, seed, costUsd } = await ryla.generateFluxDev({ prompt: "a fox in the snow", seed: 7 });
 */
import { randomUUID } from "node:crypto";
import { ModalClient as Modal, type Function_ } from "modal";
import { eventsOf, outcome, Waiting, type Limits, type Listening } from "./calls.js";
import { stopJob } from "./claims.js";
import { writeRequest, type OutputTo, type Result } from "./contract.js";
import { RylaError, translated } from "./errors.js";
import { persistently } from "./retrying.js";
import type { OptionsOf, WorkflowName } from "./options.js";

export * from "./contract.js";
export * from "./errors.js";
export * from "./options.js";

/** RYLA's own limit for a request. */
const TIMEOUT_MS = 180_000;
/** For videos and upscales, which take minutes by nature: the container keeps the tighter limit. */
const LONG_TIMEOUT_MS = 3_600_000;
/** GPUs can be scarce for many minutes, and waiting costs nothing. */
const QUEUE_TIMEOUT_MS = 1_800_000;

// begin generated: tables (python -m docs_tools)
/** Workflow → the Modal class whose method of that name serves it. */
const CLASS_OF = {
  z_image: "ZImage",
  qwen_image: "Qwen",
  qwen_image_edit: "Qwen",
  flux: "Flux",
  flux_dev: "Flux",
  flux_lora: "Flux",
  flux_kontext: "Flux",
  flux_fill: "Flux",
  flux2_klein: "Flux2",
  sdxl: "Sdxl",
  instantid: "Faces",
  flux_instantid: "Faces",
  flux_pulid: "Faces",
  wan22: "Video",
  wan2: "Video",
  seedvr2: "Upscale",
  workflow: "Custom",
} as const satisfies Record<WorkflowName, string>;

/** Workflow → what each of its results holds; undefined where the request decides. */
const OUTPUT_OF = {
  z_image: "image",
  qwen_image: "image",
  qwen_image_edit: "image",
  flux: "image",
  flux_dev: "image",
  flux_lora: "image",
  flux_kontext: "image",
  flux_fill: "image",
  flux2_klein: "image",
  sdxl: "image",
  instantid: "image",
  flux_instantid: "image",
  flux_pulid: "image",
  wan22: "video",
  wan2: "video",
  seedvr2: undefined,
  workflow: undefined,
} as const satisfies Record<WorkflowName, "image" | "video" | undefined>;
// end generated: tables

export interface ClientOptions {
  /** Name of the deployed app. */
  app?: string;
  /** Modal environment; MODAL_ENVIRONMENT, or the profile's, when absent. */
  environment?: string;
  /** Modal workspace the token must belong to; MODAL_WORKSPACE when absent. Modal cannot select one by name, only compare. */
  workspace?: string;
  /** How long a job may run; MODAL_TIMEOUT (milliseconds), or three minutes, when absent. */
  timeoutMs?: number;
  /** How long a job may wait for a container; half an hour when absent. */
  queueTimeoutMs?: number;
  /** A client of Modal's SDK to use; one is made, and closed with this client, when absent. */
  modal?: Modal;
}

export interface WaitOptions extends Listening {
  /** How long the job may run, from its start; it is canceled then. */
  timeoutMs?: number | undefined;
}

export interface SubmitOptions {
  /** Id of the job, a uuid; drawn when absent. A job that was sent before is not run again: its own call answers. */
  job?: string | undefined;
  /** Preview pictures among the events. */
  previews?: boolean | undefined;
  /** Measure how like the reference the face is. */
  measureConsistency?: boolean | undefined;
  /** Where the container uploads the files, instead of putting them into the reply: their address is the output's `url`. */
  outputTo?: OutputTo | undefined;
  /** Address that the container tells how the job ended; the app needs RYLA_GEN_WEBHOOK_SECRET in a secret of its own. */
  webhook?: string | undefined;
  /** Whether it is told the prompt as well. */
  webhookPrompt?: boolean | undefined;
}

export type CallOptions = WaitOptions & SubmitOptions;

/** Names a submitted job: keep both to find it again from another process. */
export interface Submitted {
  job: string;
  callId: string;
}

/** Where a submitted job is. */
export type Poll =
  | { state: "queued" }
  | { state: "running"; fraction: number }
  | { state: "succeeded"; result: Result }
  | { state: "failed" | "canceled" | "expired"; error: RylaError };

export type PictureResult = Result & { image: Buffer };
export type VideoResult = Result & { video: Buffer };
type ResultOf<W extends WorkflowName> =
  (typeof OUTPUT_OF)[W] extends "image" ? PictureResult : (typeof OUTPUT_OF)[W] extends "video" ? VideoResult : Result;

/** Options of a call whose files come with the reply. */
type InReply = CallOptions & { outputTo?: undefined };

/** Submits one workflow and waits for its result. What goes to a bucket is no Buffer for sure: it is among the outputs, with its address. */
export interface Generate<W extends WorkflowName> {
  (options: OptionsOf[W], call?: InReply): Promise<ResultOf<W>>;
  (options: OptionsOf[W], call: CallOptions): Promise<Result>;
}

/** Runs workflows on the deployed app. Every method throws RylaError, and nothing else. */
export class ModalClient {
  readonly #modal: Modal;
  readonly #options: ClientOptions;
  readonly #where: { environment?: string };
  readonly #methods = new Map<WorkflowName, Promise<Function_>>();

  constructor(options: ClientOptions = {}) {
    this.#options = options;
    this.#modal = options.modal ?? new Modal();
    this.#where = options.environment === undefined ? {} : { environment: options.environment };
  }

  // begin generated: methods (python -m docs_tools)
  /** Z-Image Turbo: a photograph-like picture in eight steps. */
  readonly generateZImage = this.#generator("z_image");
  /** Qwen-Image 2512: a picture with legible text in it, English and Chinese. */
  readonly generateQwenImage = this.#generator("qwen_image");
  /** Qwen-Image-Edit 2511: changes a picture as told, with things of two others. */
  readonly generateQwenImageEdit = this.#generator("qwen_image_edit");
  /** FLUX.1 schnell: a picture in four steps. */
  readonly generateFlux = this.#generator("flux");
  /** FLUX.1 dev: the better picture, in twenty steps. */
  readonly generateFluxDev = this.#generator("flux_dev");
  /** FLUX.1 dev with one or several LoRAs: a character, a style. */
  readonly generateFluxLoRA = this.#generator("flux_lora");
  /** FLUX.1 Kontext: changes a picture after an instruction, and keeps the rest. */
  readonly generateFluxKontext = this.#generator("flux_kontext");
  /** FLUX.1 Fill: draws inside a mask, or around a picture; every other pixel stays as it is. */
  readonly generateFluxFill = this.#generator("flux_fill");
  /** FLUX.2 klein: a picture from a prompt, or an edit of up to four pictures, in four steps. */
  readonly generateFlux2Klein = this.#generator("flux2_klein");
  /** SDXL, any checkpoint of it: with LoRAs, and after a pose, a depth map or edges. */
  readonly generateSDXL = this.#generator("sdxl");
  /** SDXL with InstantID: the face of a reference picture in a new scene. */
  readonly generateInstantID = this.#generator("instantid");
  /** An InstantID picture refined by FLUX.1 dev in the same graph. */
  readonly generateFluxInstantID = this.#generator("flux_instantid");
  /** FLUX.1 dev with PuLID: the face of a reference picture inside Flux itself. */
  readonly generateFluxPuLID = this.#generator("flux_pulid");
  /** Wan2.2: a short video from a prompt, a picture, or a first and a last picture. */
  readonly generateWan22 = this.#generator("wan22");
  /** Wan2.1: a short video from a prompt or a picture. */
  readonly generateWan2 = this.#generator("wan2");
  /** SeedVR2 upscaling of one picture or one video. */
  readonly generateSeedVR2 = this.#generator("seedvr2");
  /** Any ComfyUI graph in the API format. */
  readonly generateWorkflow = this.#generator("workflow");
  // end generated: methods

  #generator<W extends WorkflowName>(workflow: W): Generate<W> {
    return (options: OptionsOf[W], call?: CallOptions) => this.#generated(workflow, options, call);
  }

  /** Submit a workflow by its name and wait for its result. */
  generate<W extends WorkflowName>(workflow: W, options: OptionsOf[W], call?: InReply): Promise<ResultOf<W>>;
  generate<W extends WorkflowName>(workflow: W, options: OptionsOf[W], call: CallOptions): Promise<Result>;
  generate<W extends WorkflowName>(workflow: W, options: OptionsOf[W], call?: CallOptions): Promise<Result> {
    return this.#generated(workflow, options, call);
  }

  async #generated<W extends WorkflowName>(workflow: W, options: OptionsOf[W], call: CallOptions = {}): Promise<ResultOf<W>> {
    const submitted = await this.submit(workflow, options, call);
    const result = await this.wait(submitted, { ...call, timeoutMs: call.timeoutMs ?? this.#usualTimeout(workflow, options) });
    const wanted: "image" | "video" | undefined = OUTPUT_OF[workflow];
    if (wanted && !result.outputs.some(({ kind }) => kind === wanted)) {
      throw new RylaError({ code: "internal", message: `The reply to ${workflow} holds no ${wanted}.`, hint: "Please report it.", details: { ...submitted } });
    }
    return result as ResultOf<W>;
  }

  /** Submit a workflow and return at once. After an ambiguous failure it is sent again: a claimed job never runs twice. */
  async submit<W extends WorkflowName>(workflow: W, options: OptionsOf[W], call: SubmitOptions = {}): Promise<Submitted> {
    const job = call.job ?? randomUUID();
    const { previews = false, measureConsistency = false, outputTo, webhook, webhookPrompt } = call;
    const request = writeRequest(options, job, { events: true, previews, measureConsistency, outputTo, webhook, webhookPrompt });
    try {
      const method = await this.#method(workflow);
      const spawned = await persistently(() => method.spawn([request]));
      return { job, callId: spawned.functionCallId };
    } catch (error) {
      this.#methods.delete(workflow); // the app may have been deployed anew
      throw translated(error, `Calling ${workflow}`);
    }
  }

  /** Wait for a job that was submitted here or in another process. It is canceled when its time runs out or the signal says so. */
  async wait({ job, callId }: Submitted, options: WaitOptions = {}): Promise<Result> {
    const limits: Limits = { timeoutMs: options.timeoutMs ?? this.#timeoutMs, queueTimeoutMs: this.#options.queueTimeoutMs ?? QUEUE_TIMEOUT_MS };
    return new Waiting(this.#modal, this.#where, job, callId, limits, options).result();
  }

  /**
   * Say where a submitted job is, and return its result when it is done.
   * @param job tells waiting from running, and a canceled job from one whose container was lost; without it an unfinished call
   * counts as running
   * @throws RylaError Modal could not be asked
   */
  async poll(callId: string, job?: string): Promise<Poll> {
    try {
      const result = await outcome(this.#modal, this.#where, callId, job, 0);
      return result ? { state: "succeeded", result } : await this.#unfinished(job);
    } catch (thrown) {
      const error = translated(thrown, `The call ${callId}`);
      if (["backend_unreachable", "not_authorized", "contract_mismatch"].includes(error.code)) throw error;
      const states = { job_canceled: "canceled", job_expired: "expired", result_expired: "expired" } as const;
      return { state: states[error.code as keyof typeof states] ?? "failed", error };
    }
  }

  /**
   * Cancel a submitted job, queued or running, whichever call it belongs to: after a lost answer it may be another one than `callId`.
   * @throws RylaError Modal could not be asked, and the job may run on
   */
  cancel({ job, callId }: Submitted): Promise<void> {
    return stopJob(this.#modal, this.#where, job, callId);
  }

  /** Let go of the connection; jobs go on. */
  close(): void {
    if (!this.#options.modal) this.#modal.close();
  }

  get #timeoutMs(): number {
    return this.#options.timeoutMs ?? (Number(process.env["MODAL_TIMEOUT"]) || TIMEOUT_MS);
  }

  #usualTimeout<W extends WorkflowName>(workflow: W, options: OptionsOf[W]): number {
    if (OUTPUT_OF[workflow] !== "image" && !("graph" in options)) return Math.max(this.#timeoutMs, LONG_TIMEOUT_MS);
    return "limit" in options && options.limit ? Math.max(this.#timeoutMs, options.limit * 1000) : this.#timeoutMs;
  }

  async #unfinished(job: string | undefined): Promise<Poll> {
    if (job === undefined) return { state: "running", fraction: 0 };
    let state: Poll = { state: "queued" };
    for await (const event of eventsOf(this.#modal, this.#where, job, () => true)) {
      if (event.type === "queued") state = { state: "queued" };
      if (event.type === "started") state = { state: "running", fraction: 0 };
      if (event.type === "progress") state = { state: "running", fraction: event.fraction };
    }
    return state;
  }

  #method(workflow: WorkflowName): Promise<Function_> {
    const known = this.#methods.get(workflow) ?? this.#found(workflow);
    this.#methods.set(workflow, known);
    return known;
  }

  async #found(workflow: WorkflowName): Promise<Function_> {
    await this.#checkWorkspace();
    const cls = await persistently(() => this.#modal.cls.fromName(this.#options.app ?? "ryla-comfyui", CLASS_OF[workflow], this.#where));
    return (await cls.instance()).method(workflow);
  }

  async #checkWorkspace(): Promise<void> {
    const wanted = this.#options.workspace ?? process.env["MODAL_WORKSPACE"];
    if (!wanted) return;
    const { workspaceName } = await persistently(() => this.#modal.cpClient.workspaceNameLookup({}));
    if (!workspaceName || workspaceName === wanted) return;
    const message = `The Modal token belongs to the workspace ${workspaceName}, not to ${wanted}.`;
    throw new RylaError({ code: "not_authorized", message, hint: `Switch to the right token: modal profile activate ${wanted}`, details: { workspace: workspaceName } });
  }
}
