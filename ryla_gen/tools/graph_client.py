"""Write a typed module that calls a locked graph: for Python over this package, for TypeScript over Modal's own client.

Words of a lock reach code only as escaped literals and cleaned comments: it may come from a stranger.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ..events import CONTRACT
from ..locks.graph_lock import GraphLock, LockedInput
from .scaffold import literal

HEAD = "Written by ryla-gen graph client; write it again when the lock changes."
PYTHON_TYPES = {
    "prompt": "str",
    "text": "str",
    "texts": "str | None",
    "seed": "int | None",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "image": "ImageInput",
    "video": "VideoInput",
}
"""Type of an input → how Python writes it."""
TYPESCRIPT_TYPES = {
    "prompt": "string",
    "text": "string",
    "texts": "string | null",
    "seed": "number | bigint",
    "int": "number",
    "float": "number",
    "bool": "boolean",
    "image": "Uint8Array | string",
    "video": "Uint8Array | string",
}
"""Type of an input → how TypeScript writes it; a picture is its bytes or a data URL."""


def python_client(lock: GraphLock) -> str:
    """Write the Python module of a lock: one function whose arguments are the graph's fields."""
    media = sorted({PYTHON_TYPES[item.type] for item in lock.inputs if item.type in ("image", "video")})
    lines = [f'"""Call the locked graph {lock.name} with typed arguments. {HEAD}"""', "", "from __future__ import annotations", ""]
    lines += ["from typing import Literal", ""] if any(item.type == "choice" for item in lock.inputs) else []
    lines += ["from ryla_gen import Client, Generation"]
    lines += [f"from ryla_gen.workflows.fields import {', '.join(media)}"] if media else []
    lines += ["", "", f"def {lock.python_name}(", "    client: Client,", *(["    *,"] if lock.inputs else [])]
    lines += [f"    {item.name}: {_python_type(item)}{_python_default(item)}," for item in _required_first(lock)]
    lines += [") -> Generation:", f'    """Run the graph {lock.name}.', "", "    Args:", "        client: the client that runs it."]
    lines += [f"        {item.name}: {_words(item)}" for item in _required_first(lock)]
    lines += ["", '    """', f"    return client.graphs.{lock.python_name}("]
    lines += [f"        {item.name}={item.name}," for item in _required_first(lock)]
    return "\n".join([*lines, "    )", ""])


def typescript_client(lock: GraphLock) -> dict[str, str]:
    """Write the module of a lock for Node, and its types: file name → text."""
    name, kind = _camel(lock.name), _camel(lock.name)[0].upper() + _camel(lock.name)[1:]
    words = {"NAME": name, "KIND": kind, "LOCK": lock.name, "APP": lock.app, "HEAD": HEAD, "CONTRACT": str(CONTRACT)}
    fields = "".join(f"{line}\n" for item in _required_first(lock) for line in _typescript_field(item))
    return {
        f"{lock.name}.js": _fill(MODULE, words),
        f"{lock.name}.d.ts": _fill(TYPES, words | {"FIELDS": fields.rstrip("\n")}),
    }


def _required_first(lock: GraphLock) -> list[LockedInput]:
    return sorted(lock.inputs, key=lambda item: not _is_required(item))


def _is_required(item: LockedInput) -> bool:
    return item.type in ("prompt", "image", "video")


def _python_type(item: LockedInput) -> str:
    if item.type != "choice":
        return PYTHON_TYPES[item.type]
    return f"Literal[{', '.join(map(literal, item.choices))}]"


def _python_default(item: LockedInput) -> str:
    if _is_required(item):
        return ""
    return f" = {literal(item.default) if isinstance(item.default, str) else repr(item.default)}"


def _typescript_field(item: LockedInput) -> Iterator[str]:
    yield f"  /** {_words(item)} */"
    kind = " | ".join(json.dumps(choice) for choice in item.choices) if item.type == "choice" else TYPESCRIPT_TYPES[item.type]
    yield f"  {item.name}{'' if _is_required(item) else '?'}: {kind};"


def _words(item: LockedInput) -> str:
    """Return what is said of an input, with its range: safe in a docstring and in a comment."""
    text = " ".join(re.sub(r"[^A-Za-z0-9 _.,:()-]+", " ", item.help).split()).rstrip(".")
    bounds = [f"at least {item.minimum}"] * (item.minimum is not None) + [f"at most {item.maximum}"] * (item.maximum is not None)
    bounds += [f"a multiple of {item.multiple_of}"] * (item.multiple_of is not None)
    default = ["required"] if _is_required(item) else []
    more = ", ".join([*default, *bounds])
    return f"{text}; {more}." if more else f"{text}."


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(part.capitalize() for part in rest)


def _fill(template: str, words: dict[str, str]) -> str:
    return re.sub(r"@@([A-Z]+)@@", lambda found: words[found[1]], template)


MODULE = """// Call the locked graph @@LOCK@@, deployed as @@APP@@. @@HEAD@@
import { randomUUID } from "node:crypto";
import { ModalClient } from "modal";

/** An answer that says what went wrong; `code` is stable. */
export class GraphError extends Error {
  constructor(error) {
    super(error?.message ?? "The app gave no reason.");
    this.name = "GraphError";
    this.code = error?.code ?? "internal";
    this.hint = error?.hint ?? "";
    this.details = error?.details ?? {};
  }
}

export async function @@NAME@@(inputs, options = {}) {
  const modal = options.modal ?? new ModalClient();
  try {
    const where = options.environment ? { environment: options.environment } : {};
    const cls = await modal.cls.fromName("@@APP@@", "Graph", where);
    const method = (await cls.instance()).method("generate");
    const asked = {};
    if (options.outputTo !== undefined) asked.output_to = options.outputTo;
    if (options.webhook !== undefined) asked.webhook = options.webhook;
    if (options.webhookPrompt !== undefined) asked.webhook_prompt = options.webhookPrompt;
    const request = { contract: @@CONTRACT@@, sdk: "graph-client", job: options.job ?? randomUUID(), inputs, options: asked };
    const reply = await method.remote([request]);
    if (reply.ok !== true) throw new GraphError(reply.error);
    return reply.generation;
  } finally {
    if (!options.modal) modal.close();
  }
}
"""
TYPES = """// Types of the locked graph @@LOCK@@. @@HEAD@@
import type { ModalClient } from "modal";

export interface @@KIND@@Inputs {
@@FIELDS@@
}

export interface GraphOptions {
  /** Id of the job, a uuid; drawn when absent. A job that was sent before is not run again. */
  job?: string;
  /** Where the app uploads the files: a bucket with a prefix ("s3://bucket/prefix"), or signed addresses, one for each file. */
  outputTo?: string | readonly string[];
  /** Address that the app tells how the job ended. */
  webhook?: string;
  /** Whether it is told the prompt as well. */
  webhookPrompt?: boolean;
  /** Modal environment; the profile's when absent. */
  environment?: string;
  /** A client of Modal's SDK to use; one is made, and closed, when absent. */
  modal?: ModalClient;
}

export interface GraphOutput {
  kind: "image" | "video" | "audio" | "text" | "file";
  name: string;
  node?: string;
  media_type?: string;
  /** The encoded file; absent of a text, and of a file that was uploaded. */
  data?: Uint8Array;
  /** Address, hex digest and size of a file that was uploaded. */
  url?: string;
  sha256?: string;
  bytes?: number;
  text?: string;
  width?: number;
  height?: number;
  frames?: number;
  fps?: number;
}

export interface @@KIND@@Generation {
  workflow: string;
  job: string;
  seed: number | bigint;
  outputs: GraphOutput[];
  timings: { queued: number; cold_start: number; running: number; total: number };
  /** US dollars; null where nothing is known of the price. */
  cost: { total_usd: number; gpu?: string | null } | null;
  warnings: { code: string; message: string }[];
}

export declare class GraphError extends Error {
  constructor(error: unknown);
  /** Stable name of what went wrong, as docs/contract.md of ryla-gen lists them. */
  code: string;
  hint: string;
  details: Record<string, unknown>;
}

/** Run the graph @@LOCK@@ and wait for it. */
export declare function @@NAME@@(inputs: @@KIND@@Inputs, options?: GraphOptions): Promise<@@KIND@@Generation>;
"""
