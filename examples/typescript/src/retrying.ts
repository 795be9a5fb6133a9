/** Calls to Modal that are made again while their outcome is unknown. Knows no job. */
import { setTimeout as sleep } from "node:timers/promises";
import { isAmbiguous } from "./errors.js";

/** Times a call is made when Modal does not answer, beside the SDK's own retries: some ten seconds away are survived. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 500;

/** Make a call that may safely be made twice, until Modal answers or patience ends. */
export async function persistently<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (attempt === ATTEMPTS || !isAmbiguous(error)) throw error;
      await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1));
    }
  }
}
