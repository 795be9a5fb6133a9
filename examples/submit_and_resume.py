"""Hand in a job, end the program, and fetch the result from another one.

python examples/submit_and_resume.py         prints the job's id and ends
python examples/submit_and_resume.py ID      waits for that job and saves its picture

It needs a server that outlives the program: Modal, or a ComfyUI of yours. To try it without either, leave
`ryla-gen emulator --port 8188` running in another terminal, and set COMFYUI_POD_URL=http://127.0.0.1:8188.
"""

from __future__ import annotations

import sys

from ryla_gen import Client, FluxDev
from ryla_gen.errors import RylaGenError


def submit(client: Client) -> None:
    job = client.submit(FluxDev(prompt="a lighthouse in a storm", width=512, height=512), tags=["example"])
    print(job.id)
    print(f"On another machine: {job.handle}", file=sys.stderr)


def resume(client: Client, job_id: str) -> None:
    job = client.jobs.get(job_id)
    (file,) = job.result(timeout=600).save("resumed-{seed}.png")
    print(f"{file}: {job.state}")


if __name__ == "__main__":
    with Client() as client:
        if client.settings.backend_names[0] == "emulator":
            sys.exit("On the embedded emulator a job ends with its program. " + (__doc__ or "").split("\n\n")[2])
        try:
            resume(client, sys.argv[1]) if len(sys.argv) > 1 else submit(client)
        except RylaGenError as error:
            sys.exit(f"{error.code}: {error.message} {error.hint}")
