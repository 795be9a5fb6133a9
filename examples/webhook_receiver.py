"""Receive webhooks: verify them, drop repeats. RYLA_GEN_WEBHOOK_SECRET holds what the sender signs with, PORT where to listen.

python examples/webhook_receiver.py
"""

import base64
import hmac
import os
import time
from collections.abc import Mapping

from aiohttp import web

seen: set[str] = set()  # a real receiver asks its database


def verify(secrets: str, headers: Mapping[str, str], body: bytes) -> None:
    name, sent, signatures = (headers.get(f"webhook-{part}") or "" for part in ("id", "timestamp", "signature"))
    signed = f"{name}.{sent}.".encode() + body  # the body as it came: parsed and written again it may be other bytes
    keys = (base64.b64decode(secret.removeprefix("whsec_") + "==") for secret in secrets.split())
    wanted = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    known = any(hmac.compare_digest(one, given.encode()) for one in wanted for given in signatures.split(" "))
    if not known or abs(time.time() - int(sent)) > 300:
        raise ValueError("not signed with a secret of ours, or more than five minutes ago")


async def receive(request: web.Request) -> web.Response:
    try:
        verify(os.environ["RYLA_GEN_WEBHOOK_SECRET"], request.headers, await request.read())
    except ValueError:
        return web.Response(status=400)
    if request.headers["webhook-id"] not in seen:  # an event comes at least once, and each time with the same id
        seen.add(request.headers["webhook-id"])
        print((event := await request.json())["type"], event["data"]["job"], flush=True)
    return web.Response(status=204)


if __name__ == "__main__":
    (app := web.Application()).router.add_post("/", receive)
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
