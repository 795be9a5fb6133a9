/** One spawned call on Modal: its reply, its events, its end. Knows no workflow. */
import { setTimeout as sleep } from "node:timers/promises";
import { TimeoutError, type ModalClient as Modal } from "modal";
import { CANCELED, ownerOf, stopJob, type Where } from "./claims.js";
import { readEvent, readReply, type Result, type RylaEvent } from "./contract.js";
import { RylaError, translated } from "./errors.js";
import { persistently } from "./retrying.js";

export const EVENTS_QUEUE = "ryla-events";
/** Longest single wait for a reply, so that a dropped connection is noticed after it; the first waits are shorter. */
const SLICE_MS = 15_000;
const FIRST_SLICE_MS = 250;
/** Longest single wait for an event: Modal's SDK cannot break one off, and it would keep a process that is done alive. */
const EVENT_SLICE_MS = 1_000;
/** What a timer of JavaScript can hold. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** How long a result waits for events that are still on their way, when somebody listens. */
const LAST_EVENTS_MS = 2000;

export interface Limits {
  /** From the submit until the job starts. */
  queueTimeoutMs: number;
  /** From the moment the job starts. */
  timeoutMs: number;
}

export interface Listening {
  signal?: AbortSignal | undefined;
  onEvent?: ((event: RylaEvent) => void) | undefined;
}

/**
 * The result of a call; undefined when it is not done after so many milliseconds.
 * A call that found its job claimed hands over to the call that owns it, and one that ended without a reply to the one that took it up.
 */
export async function outcome(modal: Modal, where: Where, callId: string, job: string | undefined, timeoutMs: number): Promise<Result | undefined> {
  try {
    return readReply(await persistently(async (): Promise<unknown> => (await modal.functionCalls.fromId(callId)).get({ timeoutMs })));
  } catch (error) {
    if (error instanceof TimeoutError) {
      if (await isExpired(modal, callId)) throw expired(callId);
      return undefined;
    }
    const fault = translated(error, `The call ${callId}`);
    if (fault.code === "not_deployed") throw unknownCall(callId, fault);
    const owner = await nextOwner(modal, where, job, fault);
    if (owner === CANCELED) throw canceled(callId, fault);
    if (!owner || owner === callId) throw fault;
    return outcome(modal, where, owner, job, timeoutMs);
  }
}

async function nextOwner(modal: Modal, where: Where, job: string | undefined, fault: RylaError): Promise<string | undefined> {
  if (fault.code === "already_claimed") return String(fault.details["handle"] ?? "").replace(/^modal:/, "");
  return fault.code === "preempted" && job !== undefined ? persistently(() => ownerOf(modal, where, job)) : undefined;
}

function canceled(callId: string, cause: RylaError): RylaError {
  const message = `The job of the call ${callId} was canceled.`;
  return new RylaError({ code: "job_canceled", message, hint: "Submit it again if you still want it." }, { cause });
}

/** Modal keeps results for seven days; then a call has neither inputs to run nor outputs, and `get` would wait for ever. */
async function isExpired(modal: Modal, callId: string): Promise<boolean> {
  const asked = { functionCallId: callId, maxValues: 1, timeout: 0, lastEntryId: "0-0", clearOnSuccess: false, requestedAt: Date.now() / 1000 };
  const found = await persistently(() => modal.cpClient.functionGetOutputs({ ...asked, inputJwts: [] }));
  return found.outputs.length === 0 && found.numUnfinishedInputs === 0;
}

function expired(callId: string): RylaError {
  return new RylaError({ code: "result_expired", message: `Modal no longer keeps the result of ${callId} (it does for 7 days).`, hint: "Run it again." });
}

function unknownCall(callId: string, cause: RylaError): RylaError {
  return new RylaError({ code: "job_expired", message: `Modal knows no call ${callId}.`, hint: "Run it again." }, { cause });
}

/**
 * Read a job's events from its first one on, and follow them until `done` says so.
 * Events are decoration: when they cannot be read, they end, and nothing else happens.
 */
export async function* eventsOf(modal: Modal, where: Where, job: string, done: () => boolean): AsyncGenerator<RylaEvent> {
  try {
    const queue = await modal.queues.fromName(EVENTS_QUEUE, { ...where, createIfMissing: true }); // it may be older than the first container
    let read = 0;
    do {
      let index = 0; // every round begins with the first event again
      for await (const item of queue.iterate({ partition: job, itemPollTimeoutMs: done() ? 0 : EVENT_SLICE_MS }) as AsyncGenerator<unknown>) {
        index += 1;
        if (index <= read) continue;
        read = index;
        const event = readEvent(item);
        if (event) yield event;
        if (event?.type === "finished") return;
      }
    } while (!done());
  } catch {
    return; // no queue, a broken one, a closed client: the reply alone decides
  }
}

/** Waits for one job: under the queue limit until it starts, under its own limit from then on; cancels it when one runs out. */
export class Waiting {
  #started = false;
  #done = false;
  #alarm: NodeJS.Timeout | undefined;
  #end: (why: "late" | "aborted") => void = () => undefined;

  constructor(
    private readonly modal: Modal,
    private readonly where: Where,
    private readonly job: string,
    private readonly callId: string,
    private readonly limits: Limits,
    private readonly listening: Listening,
  ) {}

  async result(): Promise<Result> {
    const { signal, onEvent } = this.listening;
    const ended = new Promise<"late" | "aborted">((resolve) => (this.#end = resolve));
    const abort = (): void => this.#end("aborted");
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) abort();
    this.#within(this.limits.queueTimeoutMs);
    const watching = this.#watch();
    try {
      const found = await Promise.race([ended, this.#reply()]);
      if (found === "late") throw await this.#gaveUp();
      if (found === "aborted") throw await this.#aborted();
      this.#done = true;
      if (onEvent) await Promise.race([watching, sleep(LAST_EVENTS_MS)]);
      return found;
    } finally {
      this.#done = true;
      clearTimeout(this.#alarm);
      signal?.removeEventListener("abort", abort);
    }
  }

  #within(ms: number): void {
    clearTimeout(this.#alarm);
    this.#alarm = setTimeout(() => this.#end("late"), Math.min(ms, LONGEST_TIMER_MS));
  }

  async #reply(): Promise<Result> {
    for (let slice = FIRST_SLICE_MS; ; slice = Math.min(2 * slice, SLICE_MS)) {
      const found = await outcome(this.modal, this.where, this.callId, this.job, slice);
      if (found) return found;
      if (this.#done) return new Promise<Result>(() => undefined); // nobody waits any more
    }
  }

  async #gaveUp(): Promise<RylaError> {
    await stopJob(this.modal, this.where, this.job, this.callId);
    const { job, callId } = this;
    if (!this.#started) {
      const message = `The job waited ${this.limits.queueTimeoutMs / 1000} s for a container and was canceled; nothing ran.`;
      return new RylaError({ code: "generation_timeout", message, hint: "Try again later, or allow more containers.", details: { job, callId, queued: true } });
    }
    const message = `The job ran longer than ${this.limits.timeoutMs / 1000} s and was canceled.`;
    return new RylaError({ code: "generation_timeout", message, hint: "Give it more time: timeoutMs, or MODAL_TIMEOUT.", details: { job, callId } });
  }

  async #aborted(): Promise<RylaError> {
    await stopJob(this.modal, this.where, this.job, this.callId);
    const details = { job: this.job, callId: this.callId };
    return new RylaError({ code: "job_canceled", message: "The job was canceled by its caller.", hint: "Submit it again if you still want it.", details });
  }

  /** Notes when the job starts, and waits again because its container was lost, and tells who listens. */
  async #watch(): Promise<void> {
    const { onEvent } = this.listening;
    for await (const event of eventsOf(this.modal, this.where, this.job, () => this.#done)) {
      const waits = event.type === "queued";
      if (event.type === "started" || waits === this.#started) {
        this.#started = !waits;
        if (!this.#done) this.#within(waits ? this.limits.queueTimeoutMs : this.limits.timeoutMs);
      }
      if (onEvent) queueMicrotask(() => onEvent(event)); // what the listener throws is the listener's
    }
  }
}
