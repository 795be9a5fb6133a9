"""The troubleshooting page, from the error classes: code, meaning, remedy, HTTP status. Adds no error of its own."""

from __future__ import annotations

import inspect

from ryla_gen.errors import ERRORS, RylaGenError

from .workflow_pages import MARK

HEAD = f"""{MARK}
# Troubleshooting

Every error says what happened, has a stable code, and names the command that fixes it. Start with:

```sh
ryla-gen doctor --backend emulator
```

It looks at the backend, the token, the app, the versions and the weights, and says for each one that fails what to do.
Without `--backend` it looks at the configured one.

Then read what ComfyUI wrote. `jobs logs` shows for a job the build of its image, the start of its container and what was written
while the graph ran, also when the container is gone; for the name of a deployed lock or of a family its newest lines. Tokens,
passwords and signed addresses are masked.

<!-- not run: it needs a job -->
```sh
ryla-gen jobs logs 7f0c4a1e                   # a job; --follow goes on until it ends
ryla-gen jobs logs portrait                   # the lock portrait.lock, also where its build failed
```

- **Modal**: the log of its container, for as long as the plan of the workspace keeps logs. The build of its image as Modal has it,
  else what the last `ryla-gen deploy` from this machine said, which is kept in `RYLA_GEN_HOME/logs`.
- **A ComfyUI of your own**, and `ryla-gen emulator`: the newest 300 pieces of the server's one log, of all its jobs. When the
  ComfyUI of `ryla-gen local` is gone, its file.
- **The embedded emulator** keeps no log. **RunPod** shows those of its workers in its console only.

In Python `client.jobs.logs(id)` yields the lines, with `follow=True` as they come.

Errors have three forms:

- In Python every error is a `RylaGenError` with `code`, `message`, `hint`, `details` and `http_status`.
- In the shell it is one line and a hint on stderr; with `--json` it is in the last line of stdout. Exit 1: it failed.
  Exit 2: the command line, or a field, does not fit. Exit 130: you stopped it. What it was making was
  canceled first; a job that `jobs watch` or `jobs result` only waited for goes on.
- In TypeScript it is a `RylaError` with the same code.

```python
from ryla_gen import Client
from ryla_gen.errors import InvalidInputError, RylaGenError

with Client("emulator") as client:
    try:
        client.flux_dev(prompt="a fox", width=1000)
    except InvalidInputError as error:
        print(error.code, error.http_status)
        print(error.message)
        print(error.hint)
    except RylaGenError as error:  # all others
        print(error.code)
```

## Every code

| code | what happened | HTTP |
|---|---|---|
"""


def errors_page() -> str:
    """Return the page."""
    rows = [f"| [`{code}`](#{code}) | {_meaning(cls)} | {cls.http_status} |" for code, cls in ERRORS.items()]
    return HEAD + "\n".join(rows) + "\n\n" + "\n\n".join(_section(code, cls) for code, cls in ERRORS.items()) + "\n"


def _meaning(cls: type[RylaGenError]) -> str:
    return (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ").replace("``", "`")


def _section(code: str, cls: type[RylaGenError]) -> str:
    parents = [parent.__name__ for parent in cls.__mro__[1:-1] if parent not in (Exception, BaseException, RylaGenError, OSError)]
    caught = f", caught as {' or '.join(f'`{name}`' for name in parents)} too" if parents else ""
    lines = [f"### {code}", "", _meaning(cls), "", f"**What to do.** {_remedy(cls)}", ""]
    started = " Nothing was started, so another backend may be tried." if cls.started == "no" else ""
    lines.append(f"`{cls.__name__}`{caught}. HTTP status {cls.http_status}.{started}")
    return "\n".join(lines)


def _remedy(cls: type[RylaGenError]) -> str:
    """The hint, its commands as code."""
    text = cls.default_hint or "The message says it."
    at = text.find("ryla-gen ")
    if at < 0:
        return text
    pieces = text.split("ryla-gen ")
    done = [pieces[0]]
    for piece in pieces[1:]:
        end = next((place for place in (piece.find(". "), piece.find(", "), piece.find(")")) if place >= 0), len(piece))
        done.append(f"`ryla-gen {piece[:end]}`{piece[end:]}")
    return "".join(done)
