/** Character jobs: base images, a face swap, a sheet of angles. Each is several calls of ryla.ts; knows no Modal. */
import { randomUUID } from "node:crypto";
import { RylaError, type FileBytes, type JobState, type Poll, type Submitted, type Whole } from "./ryla.js";
import type { ModalClient, OptionsOf, WorkflowName } from "./ryla.js";

/** One view of a sheet. */
export interface Angle {
  /** Lower case with hyphens. */
  name: string;
  label: string;
  /** What is asked of the model for this view. */
  prompt: string;
  /** What a model that edits the base picture is told; `prompt` in its place when absent. */
  instruction?: string;
}

/** The views that have a name: the same table as the Python package's. */
export const ANGLES = {
  "front": {
    label: "Front",
    prompt: "front view, facing the camera, looking straight ahead",
    instruction: "Turn the head and the body to face the camera, looking straight ahead",
  },
  "three-quarter-left": {
    label: "Three-quarter left",
    prompt: "three-quarter view, head turned halfway to the left",
    instruction: "Turn the head and the body halfway to the left of the picture: a three-quarter view",
  },
  "three-quarter-right": {
    label: "Three-quarter right",
    prompt: "three-quarter view, head turned halfway to the right",
    instruction: "Turn the head and the body halfway to the right of the picture: a three-quarter view",
  },
  "profile-left": {
    label: "Profile left",
    prompt: "side profile, facing left, seen from the side",
    instruction: "Turn the head and the body to the left of the picture: a side profile, seen from the side",
  },
  "profile-right": {
    label: "Profile right",
    prompt: "side profile, facing right, seen from the side",
    instruction: "Turn the head and the body to the right of the picture: a side profile, seen from the side",
  },
  "back": {
    label: "Back",
    prompt: "seen from behind, back of the head, facing away from the camera",
    instruction: "Turn the person around, seen from behind: the back of the head towards the camera, no face in view",
  },
  "looking-up": {
    label: "Looking up",
    prompt: "seen slightly from below, chin raised, looking up",
    instruction: "Move the camera slightly below the face: the chin is raised, the eyes look up",
  },
  "looking-down": {
    label: "Looking down",
    prompt: "seen slightly from above, chin lowered, looking down",
    instruction: "Move the camera slightly above the face: the chin is lowered, the eyes look down",
  },
} as const satisfies Record<string, Omit<Angle, "name">>;
export type AngleName = keyof typeof ANGLES;

const SHEET_PROMPT = "character reference photo, {angle}, {who}, same person, same hair and clothes, plain grey background, studio light";
const EDIT_PROMPT =
  "{instruction}. It is the same person: keep the face, the hair, the body and the clothes exactly as they are in the picture. " +
  "{who}Plain grey background, studio light.";
const MOST_PICTURES = 16;
const COUNT = 4;

export type FaceWorkflow = "flux_pulid" | "instantid";
/** What makes base images: Z-Image Turbo (Apache-2.0) or FLUX.1 dev (non-commercial). */
export type BaseRecipe = "z_image" | "flux_dev";
/** What makes a sheet: an edit of the base picture by Qwen-Image-Edit (Apache-2.0) or FLUX.1 Kontext, or a face model. */
export type SheetRecipe = "qwen_edit" | "kontext" | FaceWorkflow;

/** Workflow of each recipe, as in the Python package. The first of each table is the default. */
const BASE_RECIPES = { z_image: "z_image", flux_dev: "flux_dev" } as const satisfies Record<BaseRecipe, WorkflowName>;
const SHEET_RECIPES = {
  qwen_edit: "qwen_image_edit",
  kontext: "flux_kontext",
  flux_pulid: "flux_pulid",
  instantid: "instantid",
} as const satisfies Record<SheetRecipe, WorkflowName>;

/** Which files of the app make characters; the environment's RYLA_GEN_CHARACTERS_… when absent, as in Python. */
export interface CharacterSettings {
  /** Makes base images when a call names no recipe: z_image when absent, or flux_dev with nsfw or a checkpoint. */
  baseRecipe?: BaseRecipe;
  /** Makes sheets when a call names no recipe: qwen_edit when absent, or the face workflow where it is set, with nsfw or a checkpoint. */
  sheetRecipe?: SheetRecipe;
  /** Makes face swaps: flux_pulid when absent. */
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

/** Where the pictures of every job go, and who is told of each. */
export interface Delivery {
  /** A bucket with a prefix, such as `s3://bucket/pictures`: the container uploads every picture, and its output has the address. */
  outputTo?: string;
  /** Address that is told how each picture's job ended. */
  webhook?: string;
}

/** What all pictures of a job share; the workflow's own where absent. */
export interface PictureSize {
  width?: number;
  height?: number;
  steps?: number;
}

export interface BaseOptions extends PictureSize {
  recipe?: BaseRecipe;
}

export interface SheetOptions extends PictureSize {
  recipe?: SheetRecipe;
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

/** Workflows whose checkpoint can be chosen. */
const WITH_CHECKPOINT: ReadonlySet<string> = new Set(["flux_dev", "flux_pulid", "instantid"]);
type Made = (typeof BASE_RECIPES)[BaseRecipe] | (typeof SHEET_RECIPES)[SheetRecipe];

export class Characters {
  constructor(
    private readonly ryla: ModalClient,
    private readonly settings: CharacterSettings & Delivery = {},
  ) {}

  /** Pictures of a new character, with consecutive seeds. */
  async submitBaseImages(prompt: string, nsfw = false, seed?: Whole, count = COUNT, options: BaseOptions = {}): Promise<CharacterJob> {
    if (!Number.isInteger(count) || count < 1 || count > MOST_PICTURES) throw invalid(`count must be 1 to ${MOST_PICTURES}, not ${count}`);
    const first = BigInt(seed ?? drawn());
    const parts = Array.from({ length: count }, (_, index) => {
      const own = simple((first + BigInt(index)) % 2n ** 64n);
      return { name: `base-${index + 1}`, label: `${index + 1} · seed ${own}`, prompt, seed: own };
    });
    const { recipe, ...size } = options;
    return this.#submitted("base", this.#baseWorkflow(recipe, nsfw), nsfw, parts, size);
  }

  /** A new picture with the face of another. */
  submitFaceSwap(baseImage: FileBytes, prompt: string, nsfw = false, seed?: Whole, size: PictureSize = {}): Promise<CharacterJob> {
    const parts = [{ name: "swap", label: "Face swap", prompt, seed: seed ?? drawn() }];
    return this.#submitted("swap", this.#faceWorkflow, nsfw, parts, size, baseImage);
  }

  /** One picture per angle of the person in another, all with one seed. */
  async submitCharacterSheet(
    baseImage: FileBytes,
    nsfw = false,
    angles: readonly (AngleName | Angle)[] = Object.keys(ANGLES) as AngleName[],
    { recipe, prompt = "", seed = drawn(), ...size }: SheetOptions = {},
  ): Promise<CharacterJob> {
    const workflow = this.#sheetWorkflow(recipe, nsfw);
    const parts = chosen(angles).map((angle) => ({ ...angle, prompt: sheetPrompt(workflow, angle, prompt), seed }));
    return this.#submitted("sheet", workflow, nsfw, parts, size, baseImage);
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

  /** The workflow of base images: of the recipe that is named, else the default, or the one that has a checkpoint where one is asked for. */
  #baseWorkflow(recipe: BaseRecipe | undefined, nsfw: boolean): Made {
    const named = recipe ?? this.settings.baseRecipe ?? (this.#wantsCheckpoint(nsfw) ? "flux_dev" : "z_image");
    return workflowOf(BASE_RECIPES, named, "base images");
  }

  #sheetWorkflow(recipe: SheetRecipe | undefined, nsfw: boolean): Made {
    const earlier = this.#namedFaceWorkflow !== undefined || this.#wantsCheckpoint(nsfw);
    const named = recipe ?? this.settings.sheetRecipe ?? (earlier ? this.#faceWorkflow : "qwen_edit");
    return workflowOf(SHEET_RECIPES, named, "character sheets");
  }

  #wantsCheckpoint(nsfw: boolean): boolean {
    return nsfw || Boolean(this.settings.checkpoint ?? process.env["RYLA_GEN_CHARACTERS_CHECKPOINT"]);
  }

  get #namedFaceWorkflow(): string | undefined {
    return this.settings.faceWorkflow ?? process.env["RYLA_GEN_CHARACTERS_FACE_WORKFLOW"];
  }

  get #faceWorkflow(): FaceWorkflow {
    const named = this.#namedFaceWorkflow ?? "flux_pulid";
    if (named === "flux_pulid" || named === "instantid") return named;
    throw invalid(`The face workflow is ${named}; it must be flux_pulid or instantid`);
  }

  /** The checkpoint: nsfw chooses it and does nothing else. */
  #checkpoint(workflow: Made, nsfw: boolean): { checkpoint?: string } {
    if (!WITH_CHECKPOINT.has(workflow)) {
      if (nsfw) throw invalid(`nsfw chooses a checkpoint, and ${workflow} has none to choose`, "Leave the recipe out: then one with a checkpoint is used.");
      return {};
    }
    const { checkpoint, nsfwCheckpoint, sdxlCheckpoint, nsfwSdxlCheckpoint } = this.settings;
    const own = workflow === "instantid" ? (nsfw ? nsfwSdxlCheckpoint : sdxlCheckpoint) : nsfw ? nsfwCheckpoint : checkpoint;
    const variable = `RYLA_GEN_CHARACTERS_${nsfw ? "NSFW_" : ""}${workflow === "instantid" ? "SDXL_" : ""}CHECKPOINT`;
    const named = own ?? process.env[variable];
    if (nsfw && !named) throw invalid(`nsfw needs a checkpoint for ${workflow}, and nothing names one`, `Name a file of the app: ${variable}`);
    return named ? { checkpoint: named } : {};
  }

  #delivery(): Delivery {
    const { outputTo, webhook } = this.settings;
    if (outputTo !== undefined && (typeof outputTo !== "string" || /^https?:/i.test(outputTo))) {
      throw invalid("A signed address takes one file of one job, and these are many jobs", 'Give a bucket: outputTo: "s3://bucket/prefix"');
    }
    return { ...(outputTo !== undefined && { outputTo }), ...(webhook !== undefined && { webhook }) };
  }

  async #submitted(
    kind: CharacterJob["kind"],
    workflow: Made,
    nsfw: boolean,
    parts: { name: string; label: string; prompt: string; seed: Whole }[],
    size: PictureSize,
    baseImage?: FileBytes,
  ): Promise<CharacterJob> {
    const shared = { ...size, ...this.#checkpoint(workflow, nsfw), ...(baseImage && pictureOf(workflow, baseImage)) };
    const delivery = this.#delivery();
    const id = randomUUID();
    const sent: CharacterPart[] = [];
    try {
      for (const { name, label, prompt, seed } of parts) {
        const options = { ...shared, prompt, seed } as OptionsOf[Made];
        const submitted = await this.ryla.submit(workflow, options, { job: partJob(id, sent.length), ...delivery });
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

function workflowOf<Name extends string>(recipes: Record<Name, Made>, name: Name, what: string): Made {
  if (Object.hasOwn(recipes, name)) return recipes[name];
  throw invalid(`There is no recipe ${name} for ${what}`, `Recipes for ${what}: ${Object.keys(recipes).join(", ")}.`);
}

/** The field that takes the base picture. */
function pictureOf(workflow: Made, picture: FileBytes): object {
  if (workflow === SHEET_RECIPES.qwen_edit) return { images: [picture] };
  return workflow === SHEET_RECIPES.kontext ? { image: picture } : { referenceImage: picture };
}

function sheetPrompt(workflow: Made, angle: Angle, who: string): string {
  const edits = workflow === SHEET_RECIPES.qwen_edit || workflow === SHEET_RECIPES.kontext;
  return edits ? editPrompt(angle, who.trim()) : facePrompt(angle, who);
}

function editPrompt({ prompt, instruction }: Angle, who: string): string {
  const told = (instruction || `Show the same person: ${prompt}`).replace(/\.+$/, "");
  return EDIT_PROMPT.replace("{instruction}", () => told).replace("{who}", () => (who ? `${who.replace(/\.+$/, "")}. ` : ""));
}

function facePrompt({ prompt }: Angle, who: string): string {
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
