/** What each workflow takes, in camelCase. Types only; the names and ranges are those of the Python package. */

/** A whole number: write those above 2^53 as a bigint (`12345678901234567890n`). */
export type Whole = number | bigint;
/** An encoded file: the bytes of a PNG, JPEG, WebP or mp4. */
export type FileBytes = Buffer | Uint8Array;

export type Sampler =
  | "euler" | "euler_ancestral" | "heun" | "heunpp2" | "dpm_2" | "dpm_2_ancestral" | "lms" | "dpmpp_2s_ancestral"
  | "dpmpp_sde" | "dpmpp_2m" | "dpmpp_2m_sde" | "dpmpp_3m_sde" | "ddpm" | "lcm" | "ipndm" | "deis" | "res_multistep"
  | "gradient_estimation" | "er_sde" | "seeds_2" | "sa_solver" | "ddim" | "uni_pc" | "uni_pc_bh2";
export type Scheduler =
  | "simple" | "sgm_uniform" | "karras" | "exponential" | "ddim_uniform" | "beta" | "normal" | "linear_quadratic" | "kl_optimal";
export type OutputFormat = "png" | "jpeg" | "webp";
export type FaceProvider = "CPU" | "GPU";

/** What everything that samples from a prompt takes. An option left out or undefined gets the workflow's default. */
export interface SampledOptions {
  /** What to show. */
  prompt: string;
  /** What to avoid. Without effect at cfg 1. */
  negativePrompt?: string | undefined;
  /** Pixels. */
  width?: number | undefined;
  /** Pixels. */
  height?: number | undefined;
  steps?: number | undefined;
  /** Classifier-free guidance scale. */
  cfg?: number | undefined;
  /** 0 to 2^64-1; drawn when absent, and returned with the result. */
  seed?: Whole | undefined;
  sampler?: Sampler | undefined;
  scheduler?: Scheduler | undefined;
}

interface PictureOptions extends SampledOptions {
  /** Pictures from one run, 1 to 16. */
  batchSize?: number | undefined;
  outputFormat?: OutputFormat | undefined;
}

/** FLUX.1 schnell. */
export interface FluxOptions extends PictureOptions {}

interface DevOptions extends PictureOptions {
  /** Distilled guidance, 0 to 30. */
  guidance?: number | undefined;
  checkpoint?: string | undefined;
}

/** FLUX.1 dev. */
export interface FluxDevOptions extends DevOptions {
  speed?: "quality" | "balanced" | "turbo" | undefined;
}

/** FLUX.1 dev with LoRAs: either one `loraId`, or several `loras`. */
export interface FluxLoraOptions extends DevOptions {
  loraId?: string | undefined;
  /** 0 to 1. */
  loraStrength?: number | undefined;
  /** Put in front of the prompt when the prompt lacks it. */
  triggerWord?: string | undefined;
  loras?: readonly { id: string; strength?: number | undefined }[] | undefined;
}

interface FaceOptions {
  /** One person, face to the camera, some room around the head. */
  referenceImage: FileBytes;
  faceProvider?: FaceProvider | undefined;
}

/** SDXL with InstantID. */
export interface InstantIDOptions extends PictureOptions, FaceOptions {
  /** How strongly the identity acts, 0 to 1. */
  instantidStrength?: number | undefined;
  /** How strongly the position of the facial features acts, 0 to 1. */
  controlnetStrength?: number | undefined;
  checkpoint?: string | undefined;
}

/** An InstantID picture, refined by FLUX.1 dev. */
export interface FluxInstantIDOptions extends InstantIDOptions {
  guidance?: number | undefined;
  /** How much Flux redraws, 0 (nothing) to 1 (everything, the face too). */
  refineDenoise?: number | undefined;
  instantidSteps?: number | undefined;
  instantidCfg?: number | undefined;
  fluxCheckpoint?: string | undefined;
}

/** FLUX.1 dev with PuLID. */
export interface FluxPulidOptions extends DevOptions, FaceOptions {
  /** How strongly the identity acts, 0 to 1. */
  identityStrength?: number | undefined;
}

/** Wan2.1: a short video. */
export interface Wan2Options extends SampledOptions {
  /** Frames, 4n+1, 1 to 161. */
  length?: number | undefined;
  fps?: number | undefined;
  /** Shift of the noise schedule towards high noise. */
  shift?: number | undefined;
  format?: "mp4" | "webp" | undefined;
  model?: "1.3B" | "14B" | undefined;
  speed?: "quality" | "turbo" | undefined;
}

/** SeedVR2: either an `image` or a `video`, enlarged. */
export interface SeedVR2Options {
  image?: FileBytes | undefined;
  video?: FileBytes | undefined;
  /** Shortest edge of the result in pixels, even, 256 to 4320. Either this or `scale`. */
  resolution?: number | undefined;
  scale?: number | undefined;
  model?: "3b" | "7b" | undefined;
  /** Frames of a video worked on together, 4n+1. */
  batchSize?: number | undefined;
  colorCorrection?: "lab" | "wavelet" | "wavelet_adaptive" | "hsv" | "adain" | "none" | undefined;
  /** 0 to 2^32-1. */
  seed?: Whole | undefined;
  outputFormat?: OutputFormat | undefined;
}

/** A graph of your own, in ComfyUI's API format. */
export interface WorkflowOptions {
  graph: Record<string, unknown>;
  /** For the text nodes that reach a sampler's positive input. */
  prompt?: string | undefined;
  /** For every sampler of the graph. */
  seed?: Whole | undefined;
  /** The file name that the graph mentions, or the node's id → picture. */
  images?: Record<string, FileBytes> | undefined;
  /** Seconds the graph may run. */
  limit?: number | undefined;
  outputFormat?: OutputFormat | undefined;
}

/** Workflow → its options. */
export interface OptionsOf {
  flux: FluxOptions;
  flux_dev: FluxDevOptions;
  flux_lora: FluxLoraOptions;
  instantid: InstantIDOptions;
  flux_instantid: FluxInstantIDOptions;
  flux_pulid: FluxPulidOptions;
  wan2: Wan2Options;
  seedvr2: SeedVR2Options;
  workflow: WorkflowOptions;
}

export type WorkflowName = keyof OptionsOf;
