/** The one error this module throws, and what Modal's exceptions mean in its terms. Calls nothing. */
import { FunctionTimeoutError, InternalFailure, InvalidError, NotFoundError, RemoteError } from "modal";

/** Every code and the status that a caller who answers HTTP itself should send. Codes are never renamed. */
export const HTTP_STATUS = {
  invalid_input: 400,
  workflow_invalid: 400,
  node_failed: 500,
  face_not_found: 400,
  out_of_memory: 500,
  lora_incompatible: 400,
  not_emulated: 400,
  lock_open: 400,
  pack_unknown: 400,
  hash_mismatch: 500,
  model_not_found: 404,
  lora_not_found: 404,
  refused: 422,
  hook_failed: 500,
  generation_timeout: 504,
  job_not_found: 404,
  job_canceled: 409,
  job_expired: 404,
  result_expired: 404,
  already_claimed: 409,
  backend_not_configured: 503,
  backend_unreachable: 503,
  not_authorized: 503,
  not_deployed: 503,
  contract_mismatch: 500,
  server_unhealthy: 503,
  preempted: 503,
  budget_exceeded: 402,
  too_many_requests: 429,
  output_exists: 409,
  storage_failed: 500,
  internal: 500,
} as const;

export type ErrorCode = keyof typeof HTTP_STATUS;
/** A newer app may send a code that this module does not know. */
export type AnyErrorCode = ErrorCode | (string & {});

export interface ErrorData {
  code: AnyErrorCode;
  httpStatus: number;
  message: string;
  /** What to do about it. */
  hint: string;
  /** Plain data about the fault: the node, the missing file, the job. */
  details: Record<string, unknown>;
}

/** What went wrong, for programs (`code`, `httpStatus`, `details`) and for people (`message`, `hint`). */
export class RylaError extends Error implements ErrorData {
  override readonly name = "RylaError";
  readonly code: AnyErrorCode;
  readonly httpStatus: number;
  readonly hint: string;
  readonly details: Record<string, unknown>;

  constructor(data: Omit<ErrorData, "httpStatus" | "details"> & Partial<ErrorData>, options?: ErrorOptions) {
    super(data.message, options);
    this.code = data.code;
    this.httpStatus = data.httpStatus ?? (isErrorCode(data.code) ? HTTP_STATUS[data.code] : 500);
    this.hint = data.hint;
    this.details = data.details ?? {};
  }
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(HTTP_STATUS, code);
}

/** gRPC status numbers that Modal's client lets through. */
const GRPC = { notFound: 5, denied: 7, unauthenticated: 16 } as const;
/** CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE: those that Modal's SDK itself tries again. */
const AMBIGUOUS: readonly (number | undefined)[] = [1, 2, 4, 13, 14];
const DEPLOY = "Deploy the app: ryla-gen deploy";

function grpcCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "number" ? error.code : undefined;
}

/** Whether nobody can know if Modal took the call. It may be sent again: a job that was claimed never runs twice. */
export function isAmbiguous(error: unknown): boolean {
  const brokenUpload = error instanceof TypeError && error.message === "fetch failed"; // payloads above 2 MiB go over HTTP
  return brokenUpload || AMBIGUOUS.includes(grpcCode(error));
}

/**
 * Turn what Modal's SDK threw into a RylaError.
 * @param doing what was being done, as the beginning of a sentence: "Calling flux_dev"
 */
export function translated(error: unknown, doing: string): RylaError {
  if (error instanceof RylaError) return error;
  const said = error instanceof Error ? error.message : String(error);
  const fault = (code: ErrorCode, message: string, hint: string): RylaError => new RylaError({ code, message, hint }, { cause: error });
  if (isAmbiguous(error)) return fault("backend_unreachable", `${doing}: Modal does not answer. ${said}`, "Check the network, then try again.");
  if (grpcCode(error) === GRPC.unauthenticated) return fault("not_authorized", `Modal refused the token: ${said}`, "Make one: modal token new");
  if (said.includes("missing credentials")) {
    return fault("not_authorized", "There is no Modal token here.", "Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run: modal token new");
  }
  if (grpcCode(error) === GRPC.denied) return fault("not_authorized", `Modal does not allow this: ${said}`, "Use a token of the workspace that owns the app.");
  // `instanceof FunctionTimeoutError` also matches a `get` that merely stopped waiting; callers sort that out before.
  if (error instanceof FunctionTimeoutError) return fault("generation_timeout", `${doing}: the container's own time limit was reached.`, `Raise it. ${DEPLOY}`);
  if (error instanceof NotFoundError || grpcCode(error) === GRPC.notFound) return fault("not_deployed", `${doing}: ${said}`, DEPLOY);
  if (error instanceof InvalidError) return fault("not_deployed", `${doing}: ${said}`, `The deployed app may be too old. ${DEPLOY}`);
  // Modal tells a canceled call, one whose container raised and one whose container was lost apart by its words alone.
  const raised = /^(Remote error: )?[A-Za-z_][\w.]*\(/.test(said);
  if (error instanceof RemoteError && !raised && /cancel/i.test(said)) return fault("job_canceled", `${doing}: it was canceled.`, "Submit it again if you still want it.");
  if (error instanceof InternalFailure || (error instanceof RemoteError && !raised)) {
    return fault("preempted", `${doing}: its container was lost.`, "Send it again; it may run a second time.");
  }
  if (error instanceof RemoteError) {
    return fault("server_unhealthy", `${doing}: the container failed. ${said}`, "See its log: ryla-gen jobs logs ryla-comfyui");
  }
  return fault("internal", `${doing}: ${said}`, "Please report it with this message.");
}
