/** Character jobs: base images, a face swap, a sheet of angles. Each is several calls of ryla.ts; knows no Modal. */
import { randomUUID } from "node:crypto";
import { RylaError, type FileBytes, type JobState, type Poll, type Submitted, type Whole } from "./ryla.js";
import type { ModalClient, OptionsOf } from "./ryla.js";

/** One view of a sheet. */
export interface Angle {
  /** Lower case with hyphens. */
  name: string;
  label: string;
  /** What is asked of the model for this view. */
  prompt: string;
}

/** The views that have a name: the same table as the Python package's. */
export const ANGLES = {
  "front": { label: "Front", prompt: "front view, facing the camera, looking straight ahead" },
  "three-quarter-left": { label: "Three-quarter left", prompt: "three-quarter view, head turned halfway to the left" },
  "three-quarter-right": { label: "Three-quarter right", prompt: "three-quarter view, head turned halfway to the right" },
  "profile-left": { label: "Profile left", prompt: "side profile, facing left, seen from the side" },
  "profile-right": { label: "Profile right", prompt: "side profile, facing right, seen from the side" },
  "back": { label: "Back", prompt: "seen from behind, back of the head, facing away from the camera" },
  "looking-up": { label: "Looking up", prompt: "seen slightly from below, chin raised, looking up" },
  "looking-down": { label: "Looking down", prompt: "seen slightly from above, chin lowered, looking down" },
} as const satisfies Record<string, Omit<Angle, "name">>;
export type AngleName = keyof typeof ANGLES;

const SHEET_PROMPT = "character reference photo, {angle}, {who}, same person, same hair and clothes, plain grey background, studio light";
const MOST_PICTURES = 16;
const COUNT = 4;

export type FaceWorkflow = "flux_pulid" | "instantid";

/** Which files of the app make characters; the environment's RYLA_GEN_CHARACTERS_… when absent, as in Python. */
export interface CharacterSettings {
  faceWorkflow?: FaceWorkflow;
  /** FLUX.1 dev checkpoint. */
  checkpoint?: string;
  /** FLUX.1 dev checkpoint with nsfw. */
  nsfwCheckpoint?: string;
  /** SDXL checkpoint of instantid. */
  sdxlCheckpoint?: string;
  /** SDXL checkpoint of instantid with nsfw. */
  nsfwSdxlCheckpoint?: string;
}

/** What all pictures of a job share; the workflow's own where absent. */
export interface PictureSize {
  width?: number;
  height?: number;
  steps?: number;
}

export interface SheetOptions extends PictureSize {
  /** Describes what stays the same in every picture: hair, clothes. */
  prompt?: string;
  seed?: Whole;
}

/** One picture that was asked for; plain data. */
export interface CharacterPart extends Submitted {
  name: string;
  label: string;
  seed: Whole;
}

/** A submitted job: keep it (it is plain data) to ask for its status from any process. */
export interface CharacterJob {
  id: string;
  kind: "base" | "swap" | "sheet";
  parts: CharacterPart[];
}

export interface CharacterStatus<Part extends Submitted = CharacterPart> {
  /** Failed when every picture has ended and one did not come. */
  state: JobState;
  /** Share of all the work that is done. */
  fraction: number;
  succeeded: number;
  total: number;
  /** Each picture: where it is, and its result once it is there. */
  parts: (Part & { now: Poll })[];
}

type Made = "flux_dev" | FaceWorkflow;

export class Characters {
  constructor(
    private readonly ryla: ModalClient,
    private readonly settings: CharacterSettings = {},
  ) {}

  /** Pictures of a new character, with consecutive seeds. */
  async submitBaseImages(prompt: string, nsfw = false, seed?: Whole, count = COUNT, size: PictureSize = {}): Promise<CharacterJob> {
    if (!Number.isInteger(count) || count < 1 || count > MOST_PICTURES) throw invalid(`count must be 1 to ${MOST_PICTURES}, not ${count}`);
    const first = BigInt(seed ?? drawn());
    const parts = Array.from({ length: count }, (_, index) => {
      const own = simple((first + BigInt(index)) % 2n ** 64n);
      return { name: `base-${index + 1}`, label: `${index + 1} · seed ${own}`, prompt, seed: own };
    });
    return this.#submitted("base", "flux_dev", nsfw, parts, size);
  }

  /** A new picture with the face of another. */
  submitFaceSwap(baseImage: FileBytes, prompt: string, nsfw = false, seed?: Whole, size: PictureSize = {}): Promise<CharacterJob> {
    const parts = [{ name: "swap", label: "Face swap", prompt, seed: seed ?? drawn() }];
    return this.#submitted("swap", this.#faceWorkflow, nsfw, parts, { ...size, referenceImage: baseImage });
  }

  /** One picture per angle with the face of another, all with one seed. */
  submitCharacterSheet(
    baseImage: FileBytes,
    nsfw = false,
    angles: readonly (AngleName | Angle)[] = Object.keys(ANGLES) as AngleName[],
    { prompt = "", seed = drawn(), ...size }: SheetOptions = {},
  ): Promise<CharacterJob> {
    const parts = chosen(angles).map((angle) => ({ ...angle, prompt: sheetPrompt(angle, prompt), seed }));
    return this.#submitted("sheet", this.#faceWorkflow, nsfw, parts, { ...size, referenceImage: baseImage });
  }

  /** Where a job of any process is, with the pictures that are there. */
  async status<Part extends Submitted = CharacterPart>(job: { parts: readonly Part[] }): Promise<CharacterStatus<Part>> {
    const parts = await Promise.all(job.parts.map(async (part) => ({ ...part, now: await this.ryla.poll(part.callId, part.job) })));
    const states = parts.map(({ now }) => now.state);
    const open = states.some((state) => state === "queued" || state === "running");
    const worst = (["failed", "expired", "canceled"] as const).find((state) => states.includes(state));
    const begun = states.some((state) => state !== "queued");
    const done = parts.map(({ now }) => (now.state === "queued" ? 0 : now.state === "running" ? now.fraction : 1));
    return {
      state: open ? (begun ? "running" : "queued") : (worst ?? "succeeded"),
      fraction: done.reduce((sum, share) => sum + share, 0) / parts.length,
      succeeded: states.filter((state) => state === "succeeded").length,
      total: parts.length,
      parts,
    };
  }

  /** Cancel what has not ended. */
  async cancel(job: CharacterJob): Promise<void> {
    await Promise.all(job.parts.map((part) => this.ryla.cancel(part)));
  }

  get #faceWorkflow(): FaceWorkflow {
    const named = this.settings.faceWorkflow ?? process.env["RYLA_GEN_CHARACTERS_FACE_WORKFLOW"] ?? "flux_pulid";
    if (named === "flux_pulid" || named === "instantid") return named;
    throw invalid(`The face workflow is ${named}; it must be flux_pulid or instantid`);
  }

  /** The checkpoint: nsfw chooses it and does nothing else. */
  #checkpoint(workflow: Made, nsfw: boolean): { checkpoint?: string } {
    const { checkpoint, nsfwCheckpoint, sdxlCheckpoint, nsfwSdxlCheckpoint } = this.settings;
    const own = workflow === "instantid" ? (nsfw ? nsfwSdxlCheckpoint : sdxlCheckpoint) : nsfw ? nsfwCheckpoint : checkpoint;
    const variable = `RYLA_GEN_CHARACTERS_${nsfw ? "NSFW_" : ""}${workflow === "instantid" ? "SDXL_" : ""}CHECKPOINT`;
    const named = own ?? process.env[variable];
    if (nsfw && !named) throw invalid(`nsfw needs a checkpoint for ${workflow}, and nothing names one`, `Name a file of the app: ${variable}`);
    return named ? { checkpoint: named } : {};
  }

  async #submitted(
    kind: CharacterJob["kind"],
    workflow: Made,
    nsfw: boolean,
    parts: { name: string; label: string; prompt: string; seed: Whole }[],
    shared: PictureSize & { referenceImage?: FileBytes },
  ): Promise<CharacterJob> {
    const checkpoint = this.#checkpoint(workflow, nsfw);
    const id = randomUUID();
    const sent: CharacterPart[] = [];
    try {
      for (const { name, label, prompt, seed } of parts) {
        const options = { ...shared, ...checkpoint, prompt, seed } as OptionsOf[Made];
        const submitted = await this.ryla.submit(workflow, options, { job: partJob(id, sent.length) });
        sent.push({ name, label, seed, ...submitted });
      }
    } catch (error) {
      await Promise.allSettled(sent.map((part) => this.ryla.cancel(part))); // nobody would know of them
      throw error;
    }
    return { id, kind, parts: sent };
  }
}

/** Id of the job that makes a character job's picture of this index. */
export function partJob(id: string, index: number): string {
  return `${id}-${index + 1}`;
}

function chosen(angles: readonly (AngleName | Angle)[]): Angle[] {
  const found = angles.map((angle) => (typeof angle === "string" ? known(angle) : angle));
  if (found.length < 1 || found.length > MOST_PICTURES) throw invalid(`A sheet has 1 to ${MOST_PICTURES} angles, not ${found.length}`);
  const twice = found.find((angle, index) => found.findIndex(({ name }) => name === angle.name) < index);
  if (twice) throw invalid(`The angle ${twice.name} was given twice`);
  return found;
}

function known(name: AngleName): Angle {
  if (Object.hasOwn(ANGLES, name)) return { name, ...ANGLES[name] };
  throw invalid(`There is no angle ${name}`, `Angles: ${Object.keys(ANGLES).join(", ")}; or describe your own: { name, label, prompt }.`);
}

function sheetPrompt({ prompt }: Angle, who: string): string {
  const whole = SHEET_PROMPT.replace("{angle}", () => prompt).replace("{who}", () => who.trim()); // in a plain text, $& would be replaced
  return whole.replace(", ,", ",");
}

function drawn(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

function simple(seed: bigint): Whole {
  return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : seed;
}

function invalid(message: string, hint = "See ANGLES and the options in characters.ts."): RylaError {
  return new RylaError({ code: "invalid_input", message: `${message}.`, hint });
}
