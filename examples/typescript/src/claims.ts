/** The claims of jobs, in Modal's Dict, for the side that stops them. Their life is drawn in ryla_gen/remote/claims.py. */
import type { ModalClient as Modal } from "modal";
import { RylaError, translated } from "./errors.js";
import { persistently } from "./retrying.js";

const CLAIMS_DICT = "ryla-claims";
/** Stands in the place of a call id when the job is stopped. */
export const CANCELED = "canceled";
const CREATE_IF_MISSING = 1;

export interface Where {
  environment?: string;
}

/**
 * Stop a job: no call of it begins from now on, and the calls that own it are canceled, with the one that is named.
 * Modal's SDK has no Dict, so this speaks to its service directly, and writes keys and values as Python does.
 * @throws RylaError Modal does not answer: the job may still run
 */
export async function stopJob(modal: Modal, where: Where, job: string, callId: string): Promise<void> {
  const calls = new Set([callId]);
  let failure: unknown;
  try {
    for (const owner of await persistently(() => stopped(modal, where, job))) calls.add(owner);
  } catch (error) {
    failure = error; // the call that is known is canceled all the same
  }
  const canceled = await Promise.allSettled([...calls].map((id) => cancelCall(modal, id)));
  failure ??= canceled.find((one) => one.status === "rejected")?.reason;
  if (failure !== undefined) throw translated(failure, `Canceling the job ${job}`);
}

/** Return the call that owns a job now; undefined when no call has it. */
export async function ownerOf(modal: Modal, where: Where, job: string): Promise<string | undefined> {
  const dictId = await dict(modal, where);
  let owner: string | undefined;
  for (let number = 1; ; number += 1) {
    const next = await read(modal, dictId, entry(job, number));
    if (next === undefined) return owner;
    owner = next;
  }
}

async function stopped(modal: Modal, where: Where, job: string): Promise<string[]> {
  const dictId = await dict(modal, where);
  const owners: string[] = [];
  for (;;) {
    const key = entry(job, owners.length + 1);
    const updates = [{ key: pickled(key), value: pickled(CANCELED) }];
    if ((await modal.cpClient.dictUpdate({ dictId, updates, ifNotExists: true })).created) return owners;
    const found = await read(modal, dictId, key);
    if (found === CANCELED) return owners;
    if (found !== undefined) owners.push(found);
  }
}

async function cancelCall(modal: Modal, callId: string): Promise<void> {
  try {
    await persistently(async () => (await modal.functionCalls.fromId(callId)).cancel());
  } catch (error) {
    const fault = translated(error, `Canceling ${callId}`);
    if (fault.code === "not_deployed") throw new RylaError({ code: "job_expired", message: `Modal knows no call ${callId}.`, hint: "Run it again." });
    throw fault;
  }
}

async function dict(modal: Modal, where: Where): Promise<string> {
  const environmentName = modal.environmentName(where.environment);
  const asked = { deploymentName: CLAIMS_DICT, environmentName, objectCreationType: CREATE_IF_MISSING, data: [] };
  return (await modal.cpClient.dictGetOrCreate(asked)).dictId;
}

async function read(modal: Modal, dictId: string, key: string): Promise<string | undefined> {
  const { found, value } = await modal.cpClient.dictGet({ dictId, key: pickled(key) });
  return found && value ? unpickled(value) : undefined;
}

function entry(job: string, number: number): string {
  return number === 1 ? job : `${job}/${number}`;
}

/** A string of up to 255 bytes as Python's pickle writes it, protocol 4: the key of an entry is found by these bytes. */
export function pickled(text: string): Buffer {
  const utf8 = Buffer.from(text, "utf8");
  if (utf8.length > 255) throw new RylaError({ code: "invalid_input", message: "A job id has at most 64 characters.", hint: "Give the one that submit returned." });
  const frame = Buffer.alloc(8);
  frame.writeBigUInt64LE(BigInt(utf8.length + 4));
  return Buffer.concat([Buffer.from([0x80, 4, 0x95]), frame, Buffer.from([0x8c, utf8.length]), utf8, Buffer.from([0x94, 0x2e])]);
}

/** The string that Python pickled; undefined for anything else. */
export function unpickled(data: Uint8Array): string | undefined {
  const bytes = Buffer.from(data);
  const text = bytes.subarray(13, bytes.length - 2).toString("utf8");
  return text.length > 0 && Buffer.byteLength(text) < 256 && pickled(text).equals(bytes) ? text : undefined;
}
