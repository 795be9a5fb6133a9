/** Verifies the webhooks of ryla-gen: that an event is from whoever has the secret, and new. docs/webhooks.md has the shapes. */
import { createHmac, timingSafeEqual } from "node:crypto";

/** How far the time of an event may be from this machine's, in seconds. */
const TOLERANCE = 5 * 60;

/** One file of a job: what it is, never its bytes. Sizes in pixels, where it has one. */
export interface WebhookOutput {
  kind: "image" | "video" | "audio" | "text" | "file" | (string & {});
  media_type: string;
  name: string;
  width?: number;
  height?: number;
  bytes: number;
  sha256: string;
  /** Where it lies, if it was uploaded; a signed address stands without its signature. */
  url?: string;
}

/** How a job ended, named as on the wire. */
export interface WebhookEvent {
  type: "job.succeeded" | "job.failed" | "job.canceled" | "job.expired" | "webhook.test" | (string & {});
  /** When the job ended, ISO 8601 UTC. */
  timestamp: string;
  data: {
    contract: number;
    job: string;
    workflow: string;
    backend: string;
    state: "succeeded" | "failed" | "canceled" | "expired" | (string & {});
    /** Above 2^53 not exact; seeds that were drawn are below 2^32. */
    seed: number | null;
    outputs: WebhookOutput[];
    cost_usd: number | null;
    seconds: number | null;
    /** `message` and `hint` only where the prompt was asked for, since they may repeat it. */
    error: { code: string; http_status: number; message?: string; hint?: string } | null;
    prompt?: string;
  };
}

/** A request that is no event of ours: answer it with 400, and do nothing. */
export class WebhookError extends Error {
  override name = "WebhookError";
}

/**
 * Verify a request and return its event. An event comes at least once: drop one whose `webhook-id` you have had.
 * @param secrets what RYLA_GEN_WEBHOOK_SECRET holds; several are separated by spaces
 * @param headers as node names them, in small letters
 * @param body the body as it came: parsed and written again it may be other bytes
 * @throws WebhookError it is not signed with one of the secrets, or is more than five minutes old
 */
export function verifyWebhook(
  secrets: string,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  body: Uint8Array | string,
  now: Date = new Date(),
): WebhookEvent {
  const [id, sent, signatures] = ["id", "timestamp", "signature"].map((part) => headers[`webhook-${part}`]);
  if (typeof id !== "string" || typeof sent !== "string" || typeof signatures !== "string") throw new WebhookError("It has no signature.");
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  const signed = Buffer.concat([Buffer.from(`${id}.${sent}.`), bytes]);
  const given = signatures.split(" ").map((one) => Buffer.from(one));
  const wanted = keys(secrets).map((key) => Buffer.from(`v1,${createHmac("sha256", key).update(signed).digest("base64")}`));
  if (!wanted.some((one) => given.some((other) => one.length === other.length && timingSafeEqual(one, other)))) {
    throw new WebhookError("It is not signed with a secret of ours.");
  }
  if (!/^\d{1,12}$/.test(sent) || Math.abs(now.getTime() / 1000 - Number(sent)) > TOLERANCE) throw new WebhookError("It is too old, or of the future.");
  return JSON.parse(new TextDecoder().decode(bytes)) as WebhookEvent;
}

function keys(secrets: string): Buffer[] {
  const found = secrets.split(/\s+/).filter((secret) => secret.startsWith("whsec_"));
  return found.map((secret) => Buffer.from(secret.slice("whsec_".length), "base64")).filter((key) => key.length > 0);
}
