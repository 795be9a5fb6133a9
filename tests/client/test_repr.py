"""What a client and a job say of themselves in a console: where they run, and how they stand. Never a secret."""

from __future__ import annotations

import pytest

from ryla_gen import AsyncClient, Client, Flux

SMALL = Flux(prompt="a fox", width=256, height=256, steps=1, seed=7)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"backend": "emulator"}, "<Client emulator>"),
        ({"backend": "modal"}, "<Client modal app=ryla-comfyui>"),
        ({"url": "http://me:secret-word@127.0.0.1:8188?token=secret-word"}, "<Client comfyui http://127.0.0.1:8188>"),
        ({"backend": "runpod"}, "<Client runpod my-endpoint>"),
        ({"backend": ["comfyui", "modal"], "url": "http://gpu:8188"}, "<Client comfyui http://gpu:8188, modal app=ryla-comfyui>"),
    ],
)
def test_a_client_says_where_it_runs_and_no_secret(
    arguments: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNPOD_API_KEY", "MODAL_TOKEN_SECRET", "RYLA_GEN_COMFYUI_TOKEN"):
        monkeypatch.setenv(name, "secret-word")
    monkeypatch.setenv("RUNPOD_ENDPOINT_ID", "my-endpoint")
    with Client(**arguments) as client:  # type: ignore[arg-type]  # a table of arguments
        assert repr(client) == said
        assert "secret-word" not in repr(client._client)
    assert repr(client) == said[:-1] + " closed>"


def test_a_job_says_what_it_is_where_and_how_it_stands() -> None:
    with Client("emulator") as client:
        job = client.submit(SMALL)
        job.result()
        assert repr(job) == f"<Job {job.id} flux succeeded on emulator>"


async def test_the_asynchronous_ones_say_the_same() -> None:
    async with AsyncClient("emulator") as client:
        job = await client.submit(SMALL)
        assert repr(job).endswith(("flux queued on emulator>", "flux running on emulator>"))
        await job.result()
        assert (repr(client), repr(job)) == ("<AsyncClient emulator>", f"<AsyncJob {job.id} flux succeeded on emulator>")
