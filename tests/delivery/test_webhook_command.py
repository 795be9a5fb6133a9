"""``ryla-gen webhook``: a secret that is shown once, a receiver that is tried out, and what the journal still holds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from ryla_gen.delivery.signatures import read_secrets
from ryla_gen.emulator.server import Emulator
from ryla_gen.history import History
from ryla_gen.history.processes import this_process
from ryla_gen.history.webhooks import Outbox
from ryla_gen.settings import Settings
from tests.cli.shell import COMMAND, environment

from .receiver import Receiver, serving
from .test_outbox import event
from .test_webhooks import SECRET

ALLOWED = {"RYLA_GEN_WEBHOOK_SECRET": SECRET, "RYLA_GEN_ALLOW_PRIVATE_ADDRESSES": "true"}


async def ryla(*arguments: str, **env: str) -> tuple[int | None, str, str]:
    """Run the command while the receiver of this process serves: code, stdout, stderr."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, env=environment(**env), **pipes)  # type: ignore[arg-type]
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def as_json(*arguments: str, **env: str) -> tuple[int | None, Any]:
    code, out, _ = await ryla(*arguments, "--json", **env)
    return code, json.loads(out.splitlines()[-1])


@contextlib.contextmanager
def outbox_of_this_machine() -> Any:
    with contextlib.closing(History(Settings.load().history_path)) as history:
        yield Outbox(history)


async def test_a_secret_is_printed_alone_and_the_rest_says_where_to_put_it(clean_environment: Path) -> None:
    code, out, err = await ryla("webhook", "secret")
    assert code == 0
    assert len(read_secrets(out.strip())) == 1
    assert "export RYLA_GEN_WEBHOOK_SECRET=" in err
    assert "modal secret create ryla-webhook RYLA_GEN_WEBHOOK_SECRET=" in err
    assert out.strip() not in err
    _, said = await as_json("webhook", "secret")
    assert said["command"] == "webhook secret"
    assert len(read_secrets(said["data"]["secret"])) == 1
    assert said["data"]["secret"] != out.strip()
    assert not clean_environment.exists(), "it is kept nowhere"  # noqa: ASYNC240 - a test waits for nothing else


async def test_the_secret_is_shown_by_no_list_of_settings_and_written_to_no_file() -> None:
    code, said = await as_json("config", "show", RYLA_GEN_WEBHOOK_SECRET=SECRET)
    assert code == 0
    assert {"key": "webhook.secret", "value": "set (not shown)", "origin": "environment RYLA_GEN_WEBHOOK_SECRET"} in said["data"][
        "items"
    ]
    assert SECRET not in json.dumps(said)
    code, said = await as_json("config", "set", "webhook.secret", SECRET)
    assert (code, said["error"]["code"]) == (2, "invalid_input")
    assert "RYLA_GEN_WEBHOOK_SECRET" in said["error"]["hint"]


async def test_a_receiver_is_tried_out_with_a_signed_event() -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        code, said = await as_json("webhook", "test", url, **ALLOWED)
    [(headers, body)] = receiver.came
    assert code == 0
    assert Verifier(SECRET).verify(body, headers) == said["data"]["event"]
    assert said["data"]["event"]["type"] == "webhook.test"
    assert (said["data"]["delivered"], said["data"]["status"], said["data"]["tries"]) == (True, 204, 1)
    assert said["data"]["webhook_id"] == headers["webhook-id"]
    assert "TOKEN" not in json.dumps(said)


async def test_what_a_receiver_answers_is_said_with_what_to_do() -> None:
    async with serving(Receiver([401], body="bad \x1b[31msignature")) as url:
        code, _, err = await ryla("webhook", "test", url, **ALLOWED)
    assert code == 1
    assert "answered 401 (bad" in err
    assert "\x1b" not in err
    assert "same secret" in err
    assert "TOKEN" not in err


@pytest.mark.parametrize(
    ("url", "env", "words"),
    [
        ("http://example.com/hook", ALLOWED, "only https"),
        ("https://127.0.0.1/hook", {"RYLA_GEN_WEBHOOK_SECRET": SECRET}, "private network"),
        ("https://example.com/hook", {}, "no secret"),
    ],
)
async def test_what_cannot_be_sent_is_a_usage_error(url: str, env: dict[str, str], words: str) -> None:
    code, said = await as_json("webhook", "test", url, **env)
    assert (code, said["error"]["code"]) == (2, "invalid_input")
    assert words in said["error"]["message"]


async def test_what_the_journal_holds_is_told_and_the_rest_stays() -> None:
    receiver, broken = Receiver(), Receiver([500])
    async with serving(receiver) as url, serving(broken) as other:
        with outbox_of_this_machine() as outbox:
            outbox.add("job-1", url, event("job-1"))
            outbox.add("job-2", other, event("job-2"))
        code, said = await as_json("webhook", "send", **ALLOWED)
        assert code == 1, "one of them was not delivered"
        items = {item["job"]: (item["delivered"], item["status"], item["given_up"]) for item in said["data"]["items"]}
        assert items == {"job-1": (True, 204, False), "job-2": (False, 500, False)}
        assert said["data"]["waiting"] == 1
        code, out, _ = await ryla("webhook", "send", **ALLOWED)
        assert (code, out.strip()) == (0, "1 event will be told later.")
        with outbox_of_this_machine() as outbox:
            outbox.postpone("job-2", other, -1.0, "")
        broken.answers[:] = [204]
        code, out, _ = await ryla("webhook", "send", **ALLOWED)
        assert code == 0
        assert "delivered" in out
        assert "Nothing is left to be told." in out
    assert [json.loads(body)["data"]["job"] for _, body in receiver.came] == ["job-1"]
    assert len(broken.came) == 2


async def test_without_a_secret_nothing_is_taken_from_the_journal() -> None:
    assert (await ryla("webhook", "send"))[:2] == (0, "Nothing is left to be told.\n")
    with outbox_of_this_machine() as outbox:
        outbox.add("job-1", "https://example.com/hook", event())
    code, said = await as_json("webhook", "send")
    assert (code, said["error"]["code"]) == (2, "invalid_input")
    with outbox_of_this_machine() as outbox:
        assert outbox.take_due(1, 1.0)[0].tries == 1


def test_help_loads_no_client_of_http() -> None:
    script = (
        "import sys\nfrom ryla_gen_cli import app\napp.run(['webhook', '--help'])\nprint('aiohttp' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True)
    assert done.stderr.strip() == "False"


async def test_a_job_that_ended_on_a_server_while_nobody_looked_is_told_by_the_command() -> None:
    receiver = Receiver()
    with Emulator() as server:
        async with serving(receiver) as url:
            size = ("--width", "256", "--height", "256", "--steps", "1")
            code, job, _ = await ryla("submit", "flux", "a fox", *size, "--url", server.url, "--webhook", url, **ALLOWED)
            assert code == 0
            while server.queue.remaining():
                await asyncio.sleep(0.02)
            code, said = await as_json("webhook", "send", **ALLOWED)
            assert (code, said["data"]["seen"], said["data"]["open"], said["data"]["waiting"]) == (0, [job.strip()], 0, 0)
            assert (await ryla("webhook", "send", **ALLOWED))[:2] == (0, "Nothing is left to be told.\n")
            server.knobs.delay_per_node = 600.0
            code, job, _ = await ryla("submit", "flux", "a fox", *size, "--url", server.url, "--webhook", url, **ALLOWED)
            code, out, _ = await ryla("webhook", "send", **ALLOWED)
            assert code == 0
            assert "1 job with a webhook has not ended" in out
            assert server.queue.remaining() == 1, "it goes on"
    assert [json.loads(body)["type"] for _, body in receiver.came] == ["job.succeeded"]


async def test_a_job_whose_process_was_killed_is_told_by_the_command_as_expired() -> None:
    receiver = Receiver()
    async with serving(receiver) as url:
        with contextlib.closing(History(Settings.load().history_path)) as history:
            ended = this_process().replace(str(os.getpid()), str(2**22 + 1), 1)
            history.record("job-1", backend="emulator", workflow="flux", inputs={"prompt": "a fox"}, process=ended)
            Outbox(history).register("job-1", url)
            history.record("job-2", backend="emulator", workflow="flux", inputs={"prompt": "a fox"}, process=this_process())
            Outbox(history).register("job-2", url)
        code, said = await as_json("webhook", "send", **ALLOWED)
        assert (code, said["data"]["seen"], said["data"]["open"]) == (0, ["job-1"], 1), "the other one's process lives"
    [(_, body)] = receiver.came
    assert (json.loads(body)["type"], json.loads(body)["data"]["job"]) == ("job.expired", "job-1")
