"""Everything this project uses of Modal, once, through Modal's own client, CLI and container runtime."""

from __future__ import annotations

import io
import queue
import sys
import warnings
from pathlib import Path

import modal
import pytest
from modal.exception import AuthError, DeprecationError, FunctionTimeoutError, NotFoundError, RemoteError

from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.modal_loopback.conftest import SAMPLE, eventually, run, worker

LARGE = 3 * 1024 * 1024


# -- deploying -----------------------------------------------------------------------------------------


def test_a_deploy_is_shown_as_plain_data(sample: Loopback) -> None:
    registered = sample.registered("sample")
    settings = registered["classes"]["Worker"]
    assert list(registered["classes"]) == ["Broken", "Short", "Worker"]
    assert {"echo", "wait"} <= set(settings.pop("methods"))
    assert settings == {
        "gpu": ["L40S", "H100"],
        "memory_mb": 1024,
        "timeout": 60,
        "startup_timeout": 60,
        "max_inputs": 5,
        "scaledown_window": 300,
        "regions": ["eu"],
        "volumes": {"/models": "sample-models"},
        "python_sources": ["sample_app"],
        "image": [
            "FROM python:3.11-slim-bookworm",
            "RUN python -m pip install aiohttp==3.12.0",
            "RUN echo built",
            "RUN FUNCTION boot WITH GPU L40S",
            "ENV SAMPLE_IMAGE='from the image'",
        ],
    }


def test_app_deploy_reaches_the_environment_that_is_named(sample: Loopback) -> None:
    code = "import sample_app; sample_app.app.deploy()"
    result = run(sample, "-c", code, MODAL_ENVIRONMENT="staging")
    assert result.returncode == 0, result.stderr
    assert sample.registered("sample", "staging")["environment"] == "staging"
    assert "not found" in run(sample, "-c", code, MODAL_ENVIRONMENT="nowhere").stderr
    with connected(sample, MODAL_ENVIRONMENT="nowhere"), pytest.raises(NotFoundError, match="sample"):
        worker().echo.remote(1)


def test_the_workspace_of_the_token_has_a_name(sample: Loopback) -> None:
    workspace = modal.Workspace.from_context()
    workspace.hydrate()
    assert workspace.name == "loopback"


# -- calling -------------------------------------------------------------------------------------------


def test_a_method_is_called_by_name_in_pickle_and_in_cbor(sample: Loopback) -> None:
    request = {"prompt": "a lighthouse", "seed": 7, "image": b"\x89PNG", "sizes": (1, 2), "none": None}
    assert worker().echo.remote(request) == request
    with connected(sample, MODAL_PAYLOAD_FORMAT="cbor"):
        assert worker().echo.remote(request) == request | {"sizes": [1, 2]}


async def test_a_method_is_awaited(sample: Loopback) -> None:
    assert await worker().echo.remote.aio(b"bytes") == b"bytes"


def test_a_spawned_call_is_found_again_by_another_process(sample: Loopback) -> None:
    call = worker().wait.spawn("later", 20.0)
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    assert call.get(timeout=100) == "later"
    code = f"import modal; print(modal.FunctionCall.from_id({call.object_id!r}).get(timeout=100))"
    assert run(sample, "-c", code).stdout.strip() == "later"


def test_payloads_over_the_inline_limits_travel_as_blobs(sample: Loopback) -> None:
    before = sample.counts["BlobCreate"]
    assert worker().echo.remote(bytes(100_000)) == bytes(100_000)
    assert sample.counts["BlobCreate"] == before
    large = bytes(LARGE)
    assert worker().echo.remote(large) == large
    assert sample.counts["BlobCreate"] == before + 2  # there and back
    assert worker().echo.spawn(bytes(10_000)).get(timeout=100) == bytes(10_000)
    assert sample.counts["BlobCreate"] == before + 4  # the limit of spawn is 8 KiB


def test_one_container_runs_five_inputs_of_a_map_at_once(sample: Loopback) -> None:
    names = [str(number) for number in range(20)]
    assert list(worker().wait.map(names, [1.0] * 20)) == names
    assert max(container.peak for container in sample.containers) == 5
    assert set(sample.deliveries.values()) <= {0, 1}


def test_an_exception_of_the_method_arrives_as_itself(sample: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SAMPLE)
    sys.modules.pop("sample_app", None)
    from sample_app import SampleError  # type: ignore[import-not-found]

    with pytest.raises(SampleError, match="no face"):
        worker().fail.remote("no face")


def test_one_cancelled_input_leaves_its_neighbours_alone(sample: Loopback) -> None:
    container = worker().where.remote()["container"]
    calls = {name: worker().wait.spawn(name, seconds) for name, seconds in (("left", 5.0), ("middle", 50.0), ("right", 5.0))}
    eventually(lambda: all(len(call.inputs[0].handed_to) == 1 for call in sample.calls[-3:]))
    calls["middle"].cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        calls["middle"].get(timeout=100)
    assert calls["left"].get(timeout=100) == "left"
    assert calls["right"].get(timeout=100) == "right"
    assert worker().where.remote()["container"] == container


def test_a_queued_input_is_cancelled_before_any_container_sees_it(sample: Loopback) -> None:
    one_at_a_time = modal.Cls.from_name("sample", "Short").with_options(timeout=100, max_containers=1)()
    busy = one_at_a_time.wait.spawn(4.0)
    queued = one_at_a_time.wait.spawn(4.0)
    queued.cancel()
    with pytest.raises(RemoteError, match="cancelled"):
        queued.get(timeout=100)
    assert busy.get(timeout=100) is None
    assert sample.calls[-1].inputs[0].handed_to == []


def test_a_function_timeout_is_an_error_of_its_own(sample: Loopback) -> None:
    with pytest.raises(FunctionTimeoutError):
        worker("Short").wait.remote(5)


def test_options_at_call_time_bring_secrets_and_limits(sample: Loopback) -> None:
    short = modal.Cls.from_name("sample", "Short")
    assert short.with_options(timeout=100)().variable.remote("SAMPLE_SECRET") is None
    variant = short.with_options(secrets=[modal.Secret.from_name("sample-secret")], timeout=100, max_containers=1)()
    assert variant.variable.remote("SAMPLE_SECRET") == "from the secret"
    assert variant.wait.remote(1.1) is None
    absent = short.with_options(secrets=[modal.Secret.from_name("absent")])()
    with pytest.raises(NotFoundError, match="absent"):
        absent.variable.remote("SAMPLE_SECRET")


def test_what_is_missing_is_said(sample: Loopback) -> None:
    with pytest.raises(NotFoundError, match="other"):
        modal.Cls.from_name("other", "Worker")().echo.remote(1)
    sample.knobs.missing_methods.add("Worker.echo")
    with pytest.raises(NotFoundError, match="echo"):
        worker().echo.remote(1)
    sample.knobs.missing_classes.add("Worker")
    with pytest.raises(NotFoundError, match="Worker"):
        worker().where.remote()


def test_a_token_is_checked(sample: Loopback) -> None:
    with connected(sample, MODAL_TOKEN_SECRET="as-wrong"), pytest.raises(AuthError, match="not valid"):
        worker().echo.remote(1)
    sample.knobs.refuse_token = True
    with pytest.raises(AuthError, match="not valid"):
        worker().echo.remote(1)


# -- containers ----------------------------------------------------------------------------------------


def test_a_container_sees_what_is_mounted_and_installed_and_nothing_else(sample: Loopback) -> None:
    seen = {
        module: worker().importable.remote(module) for module in ("sample_app", "sample_unmounted", "aiohttp", "numpy", "pytest")
    }
    assert seen == {"sample_app": True, "sample_unmounted": False, "aiohttp": True, "numpy": False, "pytest": False}


def test_a_container_has_the_variables_of_its_image_and_of_the_loopback(sample: Loopback) -> None:
    names = ("SAMPLE_IMAGE", "SAMPLE_CONTAINER", "MODAL_TOKEN_SECRET")
    assert [worker().variable.remote(name) for name in names] == ["from the image", "from the loopback", None]


def test_a_container_that_cannot_start_fails_what_waits_for_it(sample: Loopback) -> None:
    with pytest.raises(Exception, match="no server"):
        worker("Broken").echo.remote(1)


def test_containers_are_kept_warm_by_hand(fresh: Loopback, trace: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationError)  # a class has no other public way (modal 1.6.4)
        worker().update_autoscaler(min_containers=1, scaledown_window=2)
    eventually(lambda: any(container.ready for container in fresh.containers))
    assert fresh.counts["FunctionMap"] == 0
    eventually(lambda: fresh.containers[0].heartbeats > 1)


# -- queues, dicts, volumes ----------------------------------------------------------------------------


def test_events_of_a_job_are_read_by_several_watchers(sample: Loopback) -> None:
    worker().send.remote("job-1", 3)
    events = modal.Queue.from_name("sample-events")
    expected = [{"seq": 0}, {"seq": 1}, {"seq": 2}]
    assert [list(events.iterate(partition="job-1", item_poll_timeout=0.1)) for _ in range(2)] == [expected, expected]
    assert events.len(partition="job-2") == 0
    assert events.get_many(2, partition="job-1") == expected[:2]
    assert events.get_many(2, partition="job-1") == expected[2:]
    with pytest.raises(queue.Empty):
        events.get(partition="job-1", timeout=0.1)


def test_a_partition_ends_after_its_time_and_takes_no_more_than_it_holds(sample: Loopback) -> None:
    events = modal.Queue.from_name("sample-events")
    events.put_many([1, 2], partition="short", partition_ttl=20)
    sample.knobs.queue_capacity = 2
    with pytest.raises(queue.Full):
        events.put(3, block=False, partition="short")
    assert events.len(partition="short") == 2
    eventually(lambda: events.len(partition="short") == 0)


def test_a_job_is_claimed_once(sample: Loopback) -> None:
    assert [worker().claim.remote("job-3") for _ in range(3)] == [True, False, False]
    claims = modal.Dict.from_name("sample-claims")
    assert "job-3" in claims
    assert str(claims.get("job-3")).startswith("fc-")
    assert str(claims.pop("job-3")).startswith("fc-")
    assert claims.get("job-3") is None


def test_files_of_a_volume_are_written_and_read_from_outside(sample: Loopback) -> None:
    volume = modal.Volume.from_name("sample-models")
    content = b"weights" * 1_500_000  # more than one block
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(content), "/loras/a.safetensors")
    assert b"".join(volume.read_file("loras/a.safetensors")) == content
    volume.copy_files(["loras/a.safetensors"], "loras/b.safetensors")
    assert {entry.path: entry.size for entry in volume.listdir("/loras")} == {
        "loras/a.safetensors": len(content),
        "loras/b.safetensors": len(content),
    }
    volume.remove_file("loras/a.safetensors")
    assert [path.name for path in (sample.volume("sample-models") / "loras").iterdir()] == ["b.safetensors"]
    with pytest.raises(FileNotFoundError):
        list(volume.read_file("loras/a.safetensors"))


def test_a_container_sees_new_files_after_a_reload_and_shows_its_own_after_a_commit(sample: Loopback) -> None:
    assert worker().where.remote()["container"]  # it has its copy of the volume now
    folder = sample.volume("sample-models")
    (folder / "new.txt").write_text("new")
    assert worker().read.remote("new.txt", reload=False) is None
    assert worker().read.remote("new.txt", reload=True) == "new"
    assert "open files" in worker().reload_with_open_file.remote("new.txt")
    worker().write.remote("own.txt", "own")
    assert (folder / "own.txt").read_text() == "own"
