"""``ryla-gen doctor`` on a RunPod endpoint."""

from __future__ import annotations

import pytest

from tests.runpod_loopback import RunpodLoopback
from tests.runpod_loopback.server import Report

from .test_doctor import Capsys, doctor


async def idle(asked: dict[str, object], report: Report) -> dict[str, object]:
    return {"images": []}


def test_an_endpoint_is_looked_at_without_spending(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunpodLoopback(idle) as loopback:
        for name, value in loopback.environment.items():
            monkeypatch.setenv(name, value)
        checks = doctor(capsys, "--backend", "runpod")
        states = {name: item["state"] for name, item in checks.items()}
        assert (states["endpoint"], states["workers"], states["queue"]) == ("ok", "ok", "ok")
        assert (states["price"], states["weights"], states["picture"]) == ("skipped", "skipped", "skipped")
        assert "runpod.usd_per_second" in checks["price"]["hint"]
        assert loopback.jobs == {}


def test_a_wrong_key_and_a_missing_endpoint_are_said(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunpodLoopback(idle) as loopback:
        for name, value in loopback.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("RUNPOD_API_KEY", "rpa_WRONG")
        checks = doctor(capsys, "--backend", "runpod", code=1)
        assert (checks["endpoint"]["state"], checks["picture"]["state"]) == ("failed", "skipped")
        assert "RUNPOD_API_KEY" in checks["endpoint"]["hint"]
        assert "rpa_WRONG" not in str(checks)
    monkeypatch.delenv("RUNPOD_ENDPOINT_ID")
    assert "runpod.endpoint_id" in doctor(capsys, "--backend", "runpod", code=1)["endpoint"]["hint"]
