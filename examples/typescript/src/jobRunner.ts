/**
 * Base images, face swaps and character sheets behind the interface of a backend's job runner. Job ids are strings, and whoever has
 * one asks with it alone, from any process: nothing is kept here.
 */
import { ANGLES, Characters, partJob, type Angle, type AngleName, type CharacterJob, type CharacterSettings, type Delivery, type PictureSize } from "./characters.js";
import { ModalClient, RylaError, type FileBytes, type Output, type Poll, type Result, type Submitted, type Warning } from "./ryla.js";

export interface RunPodJobStatus {
  status: "IN_QUEUE" | "IN_PROGRESS" | "COMPLETED" | "FAILED" | (string & {});
  output?: unknown;
  error?: string;
}

/** What a backend asks of whatever makes its pictures, be it a ComfyUI pod, Modal or RunPod. */
export interface RunPodJobRunner {
  /** Each submission returns the id of the job. */
  submitBaseImages(input: { prompt: string; nsfw: boolean; seed?: number; useZImage?: boolean }): Promise<string>;
  submitFaceSwap(input: { baseImageUrl: string; prompt: string; nsfw: boolean; seed?: number }): Promise<string>;
  submitCharacterSheet(input: { baseImageUrl: string; nsfw: boolean; angles?: string[] }): Promise<string>;
  getJobStatus(jobId: string): Promise<RunPodJobStatus>;
}

export interface JobRunnerOptions extends CharacterSettings, Delivery {
  /** Base images of one job, 1 to 16; 3 when absent. */
  baseImages?: number;
  /** Size and steps of every picture; the workflow's own when absent. */
  size?: PictureSize;
  /** Reads the picture at a `baseImageUrl`. When absent, http, https and data URLs are read, whatever host they name. */
  readImage?: (url: string) => Promise<FileBytes>;
}

/** `output` of a job: plain JSON. The lists have one order, that of the request, and hold the pictures that came. */
export interface JobOutput {
  /** Each picture as a data URL, or the address of one that was uploaded. */
  images: string[];
  /** Seed of each picture, in digits: JSON has no exact number above 2^53. */
  seeds: string[];
  /** What each picture was asked to show: on a sheet it names the angle. */
  prompts: string[];
  /** The workflow that made them. */
  workflow: string;
  costUsd: number;
  warnings: Warning[];
}

const BASE_IMAGES = 3;
/** How long a picture may take to arrive from its URL. */
const READ_MS = 30_000;
const STATUS = { queued: "IN_QUEUE", running: "IN_PROGRESS", succeeded: "COMPLETED", failed: "FAILED", canceled: "FAILED", expired: "FAILED" } as const;
const JOB_ID = /^ryla_([0-9a-f-]{36})((?:\.[A-Za-z0-9_-]+)+)$/;
/** What Modal's ids of calls begin with. */
const CALL = "fc-";
/** What backends call our views; any other text is taken as the description of a view. */
const OTHER_NAMES: Record<string, AngleName> = {
  "3/4-left": "three-quarter-left",
  "3/4-right": "three-quarter-right",
  "side-left": "profile-left",
  "side-right": "profile-right",
  "left": "profile-left",
  "right": "profile-right",
};

/** Makes the pictures on Modal. A submission throws RylaError when nothing was submitted, and after a lost answer it never runs twice. */
export class ModalJobRunner implements RunPodJobRunner {
  readonly #ryla: ModalClient;
  readonly #characters: Characters;
  readonly #options: JobRunnerOptions;

  constructor(ryla: ModalClient = new ModalClient(), options: JobRunnerOptions = {}) {
    this.#ryla = ryla;
    this.#characters = new Characters(ryla, options);
    this.#options = options;
  }

  /**
   * Pictures of a new character, with consecutive seeds: by Z-Image with `useZImage`, by FLUX.1 dev with `useZImage: false`, and by the
   * recipe of the options when it is absent. The output names the workflow.
   */
  async submitBaseImages(input: { prompt: string; nsfw: boolean; seed?: number | undefined; useZImage?: boolean | undefined }): Promise<string> {
    const { baseImages = BASE_IMAGES, size } = this.#options;
    const recipe = input.useZImage === undefined ? {} : { recipe: input.useZImage ? ("z_image" as const) : ("flux_dev" as const) };
    return idOf(await this.#characters.submitBaseImages(input.prompt, input.nsfw, input.seed, baseImages, { ...size, ...recipe }));
  }

  /** A new picture with the face of another. */
  async submitFaceSwap(input: { baseImageUrl: string; prompt: string; nsfw: boolean; seed?: number | undefined }): Promise<string> {
    const face = await this.#read(input.baseImageUrl);
    return idOf(await this.#characters.submitFaceSwap(face, input.prompt, input.nsfw, input.seed, this.#options.size));
  }

  /** One picture per angle of the person in another: all angles that have a name, unless some are given. */
  async submitCharacterSheet(input: { baseImageUrl: string; nsfw: boolean; angles?: string[] | undefined }): Promise<string> {
    const face = await this.#read(input.baseImageUrl);
    return idOf(await this.#characters.submitCharacterSheet(face, input.nsfw, input.angles?.map(angleOf), this.#options.size));
  }

  /**
   * Say where a job of any process is. A job that is unknown, canceled or no longer kept is FAILED and says so; of a job that failed in part,
   * `output` holds the pictures that came.
   * @throws RylaError Modal could not be asked, which says nothing of the job: ask again
   */
  async getJobStatus(jobId: string): Promise<RunPodJobStatus> {
    const parts = partsOf(jobId);
    if (!parts) return { status: "FAILED", error: `No job has the id ${jobId}.` };
    const now = await this.#characters.status({ parts });
    const status = STATUS[now.state];
    if (status !== "COMPLETED" && status !== "FAILED") return { status };
    const polls = now.parts.map((part) => part.now);
    const output = outputOf(polls);
    if (status === "COMPLETED") return { status, output };
    return { status, error: errorOf(polls), ...(output.images.length > 0 && { output }) };
  }

  /** Cancel what of a job has not ended. */
  async cancelJob(jobId: string): Promise<void> {
    await Promise.all((partsOf(jobId) ?? []).map((part) => this.#ryla.cancel(part)));
  }

  /** Let go of the connection; jobs go on. */
  close(): void {
    this.#ryla.close();
  }

  async #read(url: string): Promise<FileBytes> {
    return (this.#options.readImage ?? readImage)(url);
  }
}

function idOf({ id, parts }: CharacterJob): string {
  return `ryla_${[id, ...parts.map(({ callId }) => callId.slice(CALL.length))].join(".")}`;
}

function partsOf(jobId: string): Submitted[] | undefined {
  const [, id, calls] = JOB_ID.exec(jobId) ?? [];
  if (!id || !calls) return undefined;
  return calls.slice(1).split(".").map((call, index) => ({ job: partJob(id, index), callId: `${CALL}${call}` }));
}

function angleOf(text: string): AngleName | Angle {
  const name = text.trim().toLowerCase().replaceAll(/[\s_]+/g, "-");
  if (Object.hasOwn(ANGLES, name)) return name as AngleName;
  return OTHER_NAMES[name] ?? { name, label: text, prompt: text };
}

function outputOf(polls: Poll[]): JobOutput {
  const results = polls.flatMap((poll) => (poll.state === "succeeded" ? [poll.result] : []));
  const each = <T>(value: (result: Result) => T): T[] => results.flatMap((result) => picturesOf(result).map(() => value(result)));
  return {
    images: results.flatMap(picturesOf).map(addressOf),
    seeds: each(({ seed }) => String(seed)),
    prompts: each(({ inputs }) => String(inputs["prompt"] ?? "")),
    workflow: results[0]?.workflow ?? "",
    costUsd: results.reduce((sum, { costUsd }) => sum + costUsd, 0),
    warnings: results.flatMap(({ warnings }) => warnings),
  };
}

function picturesOf({ outputs }: Result): Output[] {
  return outputs.filter(({ kind }) => kind === "image");
}

function addressOf({ url, mediaType, data }: Output): string {
  return url ?? `data:${mediaType};base64,${data?.toString("base64") ?? ""}`;
}

function errorOf(polls: Poll[]): string {
  const errors = polls.flatMap((poll) => ("error" in poll ? [poll.error.message] : []));
  return polls.length === 1 ? (errors[0] ?? "") : `${errors.length} of ${polls.length} pictures did not come: ${errors[0]}`;
}

async function readImage(url: string): Promise<FileBytes> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(READ_MS) });
    if (answer.ok) return Buffer.from(await answer.arrayBuffer());
    throw new Error(`it answers ${answer.status}`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const hint = "Give an http, https or data URL of a PNG, JPEG or WebP.";
    throw new RylaError({ code: "invalid_input", message: `The picture at ${named(url)} cannot be read: ${why}.`, hint }, { cause: error });
  }
}

/** An address without its query, which may hold a signature, and without the data of a data URL. */
function named(url: string): string {
  return url.startsWith("data:") ? "a data URL" : (url.split(/[?#]/)[0] ?? "");
}
