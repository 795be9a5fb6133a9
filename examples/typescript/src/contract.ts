/** Plain data ↔ typed objects: the request, the reply, the events, as docs/contract.md fixes them. Carries nothing. */
import { RylaError, type ErrorCode } from "./errors.js";

export const CONTRACT = 2;
/** What this side reads: of contract 1 nothing was taken away. */
const READABLE: readonly number[] = [1, 2];
/** Says who sent a request. */
export const SDK = "typescript-0.2.0";

export type JobState = "queued" | "running" | "succeeded" | "failed" | "canceled" | "expired";

/** One file or text a job made. */
export interface Output {
  kind: "image" | "video" | "audio" | "text" | "file" | (string & {});
  mediaType: string;
  name: string;
  /** The encoded file; of a text its UTF-8 bytes. Absent where the file was uploaded: it is at `url`. */
  data?: Buffer;
  /** Address of a file that was uploaded, as `outputTo` asked; a signed one stands without its signature. */
  url?: string;
  /** Hex digest of the uploaded file. */
  sha256?: string;
  /** Bytes of the uploaded file. */
  size?: number;
  /** What a text output says. */
  text?: string;
  /** Id of the node of the graph that made it; absent where the app does not say. */
  node?: string;
  width?: number;
  height?: number;
  frames?: number;
  fps?: number;
}

/** US dollars, and the GPU they were paid for. */
export interface Cost {
  totalUsd: number;
  gpuUsd: number;
  cpuUsd: number;
  memoryUsd: number;
  gpu: string | undefined;
  gpuSeconds: number;
  pricesAsOf: string | undefined;
  /** What the prices were multiplied by, since a region was chosen; it is in all amounts above. */
  regionFactor: number;
}

/** Seconds. */
export interface Timings {
  queued: number;
  coldStart: number;
  running: number;
  total: number;
  /** Where a cold start went; undefined when it was warm. */
  cold: ColdStart | undefined;
  /** Whether the container of a cold start was restored from a snapshot. */
  restored: boolean;
}

/** Seconds of each part; undefined where it is not known. */
export interface ColdStart {
  boot: number | undefined;
  restore: number | undefined;
  weights: number | undefined;
  load: number | undefined;
}

export interface Warning {
  code: string;
  message: string;
}

/** A finished generation. */
export interface Result {
  workflow: string;
  job: string;
  /** Repeats the result. A bigint when it is above 2^53. */
  seed: number | bigint;
  /** The first picture, if there is one. Those that were uploaded are among the outputs alone, with their address. */
  image?: Buffer;
  images: Buffer[];
  /** The first video, if there is one. */
  video?: Buffer;
  videos: Buffer[];
  /** Every sound. */
  audios: Buffer[];
  /** Every text, such as a caption. */
  texts: string[];
  /** Every file and text with its name, type and size. */
  outputs: Output[];
  costUsd: number;
  cost: Cost;
  timings: Timings;
  warnings: Warning[];
  /** The fields the job ran with, as the app names them; pictures as hash and size. */
  inputs: Record<string, unknown>;
  /** What ComfyUI ran, in its API format. */
  graph: Record<string, unknown>;
  /** Versions, GPU and container. */
  server: Record<string, unknown>;
  /** How like the reference the face is, -1 to 1; only when it was asked for and could be measured. */
  faceSimilarity?: number;
}

/** What happens to a job while it runs. Decoration: a lost event loses nothing. */
export type RylaEvent = { job: string; seq: number; at: string } & (
  | { type: "queued"; position: number }
  | { type: "started"; coldStart: number }
  | { type: "progress"; fraction: number; step: number; steps: number; node: string }
  | { type: "preview"; mediaType: string; data: Buffer }
  | { type: "finished"; state: JobState }
);

/** Where the files of a job go: a bucket with a prefix (`s3://bucket/prefix`, `gs://…`), or signed addresses that take a PUT, one for each file. */
export type OutputTo = string | readonly string[];

/** The options of a run; of the last three only those that are given are written. */
export interface RequestOptions {
  events: boolean;
  previews: boolean;
  measureConsistency: boolean;
  outputTo?: OutputTo | undefined;
  webhook?: string | undefined;
  webhookPrompt?: boolean | undefined;
}

type Plain = Record<string, unknown>;

/** Write the one argument of every remote method. */
export function writeRequest(options: object, job: string, asked: RequestOptions): Plain {
  return { contract: CONTRACT, sdk: SDK, job, inputs: snakeKeys(plainObject(options, "")), options: snakeKeys(plainObject(asked, "options")) };
}

/** `negativePrompt` → `negative_prompt`; only the names of fields, never the keys inside a graph. */
function snakeKeys(data: Plain): Plain {
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [snake(key), value]));
}

export function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function plainObject(data: object, path: string): Plain {
  const given = Object.entries(data).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([key, value]) => [key, plain(value, path ? `${path}.${key}` : key)]));
}

/** Copy plain data for CBOR: undefined is dropped, and whole numbers above 2^32 become bigints, or they would travel as floats. */
function plain(value: unknown, path: string): unknown {
  if (value === null || typeof value === "string" || typeof value === "boolean" || value instanceof Uint8Array) return value;
  if (typeof value === "number") return plainNumber(value, path);
  if (typeof value === "bigint") {
    if (value < 2n ** 64n && value >= -(2n ** 63n)) return value;
    throw invalid(`${path} is outside 64 bits: ${value}`, "Seeds go from 0 to 18446744073709551615n.");
  }
  if (Array.isArray(value)) return value.map((item, index) => plain(item, `${path}[${index}]`));
  if (typeof value === "object" && isPlainObject(value)) return plainObject(value, path);
  throw invalid(`${path} is no plain data (${describe(value)})`, "Give text, numbers, booleans, lists, objects, or the bytes of a file as a Buffer.");
}

function plainNumber(value: number, path: string): number | bigint {
  if (!Number.isFinite(value)) throw invalid(`${path} is ${value}`, "Give a finite number.");
  if (!Number.isInteger(value) || Math.abs(value) < 2 ** 32) return value;
  if (Number.isSafeInteger(value)) return BigInt(value);
  throw invalid(`${path} is above 2^53, where a JavaScript number is no longer exact: ${value}`, `Write it as a bigint, with an n at its end.`);
}

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function describe(value: unknown): string {
  return typeof value === "object" && value !== null ? (value.constructor?.name ?? "object") : typeof value;
}

function invalid(message: string, hint: string): RylaError {
  return new RylaError({ code: "invalid_input", message, hint });
}

/**
 * Turn a reply into the result it holds.
 * @throws RylaError the reply is an error, or it is no reply of this contract
 */
export function readReply(data: unknown): Result {
  const reply = object(data, "The reply");
  checkContract(reply);
  if (reply["ok"] !== true) throw readError(reply["error"]);
  const found = object(simple(reply["generation"]), "generation");
  const outputs = list(found["outputs"]).map(readOutput);
  const [images, videos, audios] = [filesOf("image", outputs), filesOf("video", outputs), filesOf("audio", outputs)];
  const texts = outputs.flatMap((output) => (output.text === undefined ? [] : [output.text]));
  const cost = readCost(optional(found["cost"]));
  return {
    workflow: text(found["workflow"]),
    job: text(found["job"]),
    seed: typeof found["seed"] === "bigint" ? found["seed"] : number(found["seed"]),
    ...(images[0] && { image: images[0] }),
    images,
    ...(videos[0] && { video: videos[0] }),
    videos,
    audios,
    texts,
    outputs,
    costUsd: cost.totalUsd,
    cost,
    timings: readTimings(optional(found["timings"])),
    warnings: list(found["warnings"]).map((item) => ({ code: text(optional(item)["code"]), message: text(optional(item)["message"]) })),
    inputs: optional(found["inputs"]),
    graph: optional(found["graph"]),
    server: optional(found["server"]),
    ...(typeof found["face_similarity"] === "number" && { faceSimilarity: found["face_similarity"] }),
  };
}

function checkContract(reply: Plain): void {
  const theirs = number(reply["contract"] ?? CONTRACT);
  if (READABLE.includes(theirs)) return;
  const hint = theirs < CONTRACT ? "The app is older: ryla-gen deploy" : "This module is older: take ryla.ts from the version that you deployed.";
  throw mismatch(`The app speaks contract ${theirs}, this side ${CONTRACT}.`, hint, { contract: CONTRACT, theirs });
}

function mismatch(message: string, hint: string, details: Plain = {}): RylaError {
  return new RylaError({ code: "contract_mismatch" satisfies ErrorCode, message, hint, details });
}

function readError(data: unknown): RylaError {
  const error = object(simple(data), "error");
  const status = error["http_status"];
  return new RylaError({
    code: text(error["code"]) || "internal",
    message: text(error["message"]),
    hint: text(error["hint"]),
    details: optional(error["details"]),
    ...(typeof status === "number" && { httpStatus: status }),
  });
}

function readOutput(data: unknown): Output {
  const output = object(data, "An output");
  const sizes = ["width", "height", "frames", "fps"].filter((name) => typeof output[name] === "number");
  const kind = text(output["kind"]);
  return {
    kind,
    mediaType: text(output["media_type"]),
    name: text(output["name"]),
    ...content(kind, output),
    ...(typeof output["node"] === "string" && { node: output["node"] }),
    ...Object.fromEntries(sizes.map((name) => [name, output[name]])),
  };
}

/** What an output holds: a text, a file, or the address of one that was uploaded. */
function content(kind: string, output: Plain): Pick<Output, "data" | "text" | "url" | "sha256" | "size"> {
  if (typeof output["url"] === "string") return { url: output["url"], sha256: text(output["sha256"]), size: number(output["bytes"]) };
  if (kind === "text") return { data: Buffer.from(text(output["text"])), text: text(output["text"]) };
  return { data: bytes(output["data"]) };
}

/** The files of a kind that came with the reply. */
function filesOf(kind: string, outputs: Output[]): Buffer[] {
  return outputs.flatMap((output) => (output.kind === kind && output.data ? [output.data] : []));
}

function readCost(data: Plain): Cost {
  return {
    totalUsd: number(data["total_usd"]),
    gpuUsd: number(data["gpu_usd"]),
    cpuUsd: number(data["cpu_usd"]),
    memoryUsd: number(data["memory_usd"]),
    gpu: text(data["gpu"]) || undefined,
    gpuSeconds: number(data["gpu_seconds"]),
    pricesAsOf: text(data["prices_as_of"]) || undefined,
    regionFactor: number(data["region_factor"]) || 1,
  };
}

function readTimings(data: Plain): Timings {
  const cold = data["cold"] ? optional(data["cold"]) : undefined;
  const part = (name: string) => (typeof cold?.[name] === "number" ? cold[name] : undefined);
  return {
    queued: number(data["queued"]),
    coldStart: number(data["cold_start"]),
    running: number(data["running"]),
    total: number(data["total"]),
    cold: cold && { boot: part("boot"), restore: part("restore"), weights: part("weights"), load: part("load") },
    restored: data["restored"] === true,
  };
}

/** Read an event; undefined for a kind that a newer app sends. Unknown keys are ignored. */
export function readEvent(data: unknown): RylaEvent | undefined {
  const event = optional(simple(data));
  const base = { job: text(event["job"]), seq: number(event["seq"]), at: text(event["at"]) };
  switch (event["type"]) {
    case "queued":
      return { ...base, type: "queued", position: number(event["position"]) };
    case "started":
      return { ...base, type: "started", coldStart: number(event["cold_start"]) };
    case "progress": {
      const { fraction, step, steps, node } = event;
      return { ...base, type: "progress", fraction: number(fraction), step: number(step), steps: number(steps), node: text(node) };
    }
    case "preview":
      return { ...base, type: "preview", mediaType: text(event["media_type"]), data: bytes(event["data"]) };
    case "finished":
      return { ...base, type: "finished", state: text(event["state"]) as JobState };
    default:
      return undefined;
  }
}

/** CBOR brings 64-bit whole numbers as bigints; those that a number can hold exactly become numbers again, however deep. */
function simple(value: unknown): unknown {
  if (typeof value === "bigint") return BigInt.asIntN(54, value) === value ? Number(value) : value;
  if (Array.isArray(value)) return value.map(simple);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, simple(item)]));
}

function object(value: unknown, what: string): Plain {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Plain;
  throw mismatch(`${what} is no object, but ${describe(value)}.`, "Is this method one of ryla-gen's? Deploy the app: ryla-gen deploy");
}

function optional(value: unknown): Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Plain) : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function number(value: unknown): number {
  return typeof value === "number" || typeof value === "bigint" ? Number(value) : 0;
}

function bytes(value: unknown): Buffer {
  if (!(value instanceof Uint8Array)) throw mismatch(`A file arrived as ${describe(value)}, not as bytes.`, "Deploy the app: ryla-gen deploy");
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
