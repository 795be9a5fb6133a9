"""The knobs: every fault that the project's tests switch on, seen from Modal's real client."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import modal
import pytest
from modal.exception import OutputExpiredError, RemoteError, ServiceError, UnimplementedError

from tests.modal_loopback import Loopback
from tests.modal_loopback.client import connected
from tests.modal_loopback.conftest import deploy, eventually, run, worker


def traced(trace: Path, word: str) -> int:
    return sum(line.startswith(word) for line in trace.read_text().splitlines())


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_input_whose_container_crashed_runs_in_another_one(fresh: Loopback, trace: Path) -> None:
    assert worker().crash.remote(1) == "survived"
    assert [container.exit_code for container in fresh.containers] == [3, None]
    assert list(fresh.deliveries.values()) == [2]
    assert len(fresh.calls) == 1


def test_an_input_that_kills_every_container_is_given_up(fresh: Loopback, trace: Path) -> None:
    with pytest.raises(RemoteError, match="exited with 3"):
        worker().crash.remote(99)
    assert traced(trace, "crash") == 3


def test_a_container_is_killed_at_its_nth_input_and_on_demand(fresh: Loopback, trace: Path) -> None:
    fresh.knobs.kill_at_input = 2
    assert list(worker().wait.map(["a", "b", "c"], [0.2] * 3)) == ["a", "b", "c"]
    assert [container.exit_code for container in fresh.containers] == [-9, None]
    call = worker().wait.spawn("d", 5.0)
    eventually(lambda: traced(trace, "wait d") == 1)
    fresh.kill_container()
    assert call.get(timeout=100) == "d"
    assert traced(trace, "wait d") == 2


def test_a_lost_answer_makes_the_client_ask_again_and_the_call_run_twice(fresh: Loopback, trace: Path) -> None:
    fresh.knobs.lose_answer_of["FunctionMap"] = 1
    assert worker().wait.remote("twice", 0) == "twice"
    assert (fresh.counts["FunctionMap"], len(fresh.calls)) == (2, 2)
    eventually(lambda: traced(trace, "wait twice") == 2)


def test_a_lost_request_makes_the_client_ask_again_and_the_call_run_once(fresh: Loopback, trace: Path) -> None:
    fresh.knobs.lose_request_of["FunctionMap"] = 1
    assert worker().wait.remote("once", 0) == "once"
    assert (fresh.counts["FunctionMap"], len(fresh.calls)) == (2, 1)
    fresh.knobs.remember_requests = True
    fresh.knobs.lose_answer_of["FunctionMap"] = 1
    assert worker().wait.remote("remembered", 0) == "remembered"
    assert (fresh.counts["FunctionMap"], len(fresh.calls)) == (4, 2)
    assert traced(trace, "wait remembered") == 1


def test_answers_that_stay_lost_are_an_error_although_the_calls_run(fresh: Loopback, trace: Path) -> None:
    worker().echo.remote(0)
    fresh.knobs.lose_answer_of["FunctionMap"] = 4  # the client tries four times
    with pytest.raises(Exception, match="(?i)connection"):
        worker().wait.remote("lost", 0)
    eventually(lambda: traced(trace, "wait lost") == 4)


def test_an_answer_lost_in_a_container_is_asked_for_again(fresh: Loopback) -> None:
    fresh.knobs.lose_answer_of["FunctionGetInputs"] = 1
    fresh.knobs.lose_answer_of["FunctionPutOutputs"] = 1
    fresh.knobs.lose_answer_of["DictUpdate"] = 1
    assert worker().claim.remote("job") is False  # the repeated claim meets the first one: only the call's id tells
    assert modal.Dict.from_name("sample-claims").get("job") == fresh.calls[0].id
    assert (len(fresh.containers), list(fresh.deliveries.values())) == (1, [1])


def test_a_result_arrives_although_the_control_plane_was_away(sample: Loopback) -> None:
    call = worker().wait.spawn("patient", 0.2)
    url = sample.url
    sample.away()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    with pytest.raises(modal.exception.ConnectionError):
        call.get(timeout=100)  # Modal's client asks four times, within a second or two
    sample.come_back()
    assert call.get(timeout=100) == "patient"
    assert sample.url == url


def test_an_expired_result_is_told_from_one_that_is_not_there_yet(sample: Loopback) -> None:
    call = worker().wait.spawn("old", 0)
    assert call.get(timeout=100) == "old"
    sample.knobs.expire_results = True
    with pytest.raises(OutputExpiredError):
        call.get(timeout=0)
    running = worker().wait.spawn("new", 50)
    sample.knobs.expire_results = False
    with pytest.raises(TimeoutError):
        running.get(timeout=0)
    running.cancel()


def test_an_unavailable_queue_says_so(sample: Loopback) -> None:
    worker().echo.remote(0)
    sample.knobs.queue_unavailable = True
    with pytest.raises(ServiceError, match="refused"):
        modal.Queue.from_name("sample-events").put(1, block=False)
    with pytest.raises(Exception, match="refused"):
        worker().send.remote("job", 1)
    assert worker().echo.remote(1) == 1


def test_a_slow_call_takes_its_time(sample: Loopback) -> None:
    worker().echo.remote(0)
    sample.knobs.delay["Function*"] = 0.3
    started = time.monotonic()
    worker().echo.remote(1)
    assert time.monotonic() - started > 0.6


def test_an_answer_and_an_upload_may_be_late(sample: Loopback) -> None:
    worker().echo.remote(0)
    sample.knobs.delay_answer["FunctionMap"] = 5.0
    before, started = len(sample.calls), time.monotonic()
    caller = threading.Thread(target=worker().echo.remote, args=(1,))
    caller.start()
    eventually(lambda: len(sample.calls) > before)
    assert caller.is_alive(), "it is taken before it is answered"
    caller.join()
    assert time.monotonic() - started > 5.0
    sample.knobs.reset()
    sample.knobs.delay["PUT blob"], started = 0.3, time.monotonic()
    worker().echo.remote(bytes(3_000_000))
    assert time.monotonic() - started > 0.6, "there and back"


def test_an_unknown_rpc_is_recorded(sample: Loopback) -> None:
    with pytest.raises(UnimplementedError):
        modal.Dict.objects.list()
    assert sample.unknown_rpcs == ["DictList"]
    sample.unknown_rpcs.clear()


def test_nothing_stays_behind(minimal_python: Path, trace: Path, clean_environment: Path) -> None:
    threads = set(threading.enumerate())
    with Loopback(python=minimal_python, container_env={"SAMPLE_TRACE": str(trace)}) as loopback:
        deploy(loopback)
        with connected(loopback):
            child = worker().leave_a_child.remote()
            pid = worker().where.remote()["pid"]
            worker().wait.spawn("unfinished", 30)
            eventually(lambda: traced(trace, "wait") == 1)
        container = loopback.containers[0]
        folder, port = container.folder.parent.parent, int(loopback.url.rpartition(":")[2])
        assert folder.is_dir()
        assert alive(child)
    assert (container.exit_code, container.left_behind) == (0, ["sleep 600"])
    assert traced(trace, "exit") == 1
    eventually(lambda: not alive(pid) and not alive(child))
    assert not folder.exists()
    assert "modal-loopback" not in [thread.name for thread in set(threading.enumerate()) - threads]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_an_idle_container_is_scaled_down_and_runs_its_exit_hook(
    minimal_python: Path, trace: Path, clean_environment: Path
) -> None:
    with Loopback(python=minimal_python, container_env={"SAMPLE_TRACE": str(trace)}, scaledown=0.2) as loopback:
        deploy(loopback)
        with connected(loopback):
            worker().echo.remote(1)
            eventually(lambda: traced(trace, "exit") == 1)
            worker().echo.remote(2)
            result = run(loopback, "-m", "modal", "deploy", "-m", "sample_app")
            assert result.returncode == 0
            assert worker().echo.remote(3) == 3
        assert traced(trace, "enter") >= 2
