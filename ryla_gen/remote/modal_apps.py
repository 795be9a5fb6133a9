"""Send Modal the calls about a whole app that its Python API lacks: its versions, a rollback, its containers. Decides nothing.

``modal.App`` can be looked up and stopped; the rest only Modal's own command can do (``modal app history``: ``modal/cli/app.py`` of
1.6.4). This uses the client inside that command, which Modal may change: one more reason for the tested range of ``modal``.
"""

from __future__ import annotations

from typing import Any

from modal._object import _get_environment_name
from modal._utils.async_utils import synchronizer
from modal.client import _Client
from modal_proto import api_pb2 as pb

AppFound = pb.AppGetByDeploymentNameResponse
AppVersions = pb.AppDeploymentHistoryResponse
ListedApp = pb.AppListResponse.AppListItem
OVER = (pb.APP_STATE_STOPPING, pb.APP_STATE_STOPPED, pb.APP_STATE_DISABLED)
"""States of an app that takes no calls any more."""
CLOSE_SECONDS = 10.0
"""How long the closing of a stream may take: Modal's client gives up on it then (``synchronizer.py`` of synchronicity 0.12.7)."""


async def find_app(name: str, environment: str | None) -> AppFound:
    """Look an app up by name. ``app_id`` is empty where none is deployed; then ``lifecycle`` is that of the one stopped last."""
    request = pb.AppGetByDeploymentNameRequest(name=name, environment_name=_get_environment_name(environment) or "")
    found: AppFound = await send("AppGetByDeploymentName", request)
    return found


async def list_apps(environment: str | None) -> list[ListedApp]:
    """List the apps of an environment that take calls, or soon will."""
    request = pb.AppListRequest(environment_name=_get_environment_name(environment) or "")
    found: pb.AppListResponse = await send("AppList", request)
    return [item for item in found.apps if item.state not in OVER]


async def list_versions(app_id: str) -> AppVersions:
    """List every deployment of an app, and which one is live."""
    found: AppVersions = await send("AppDeploymentHistory", pb.AppDeploymentHistoryRequest(app_id=app_id))
    return found


async def roll_back(app_id: str, version: int) -> None:
    """Deploy a version of an app again, as a new one."""
    await send("AppRollback", pb.AppRollbackRequest(app_id=app_id, version=version))


async def stop_app(app_id: str) -> None:
    """Stop an app for good: its containers end at once, and its name is free."""
    await send("AppStop", pb.AppStopRequest(app_id=app_id, source=pb.APP_STOP_SOURCE_PYTHON_CLIENT))


async def list_classes(app_id: str) -> tuple[str, ...]:
    """List the classes of an app."""
    found: pb.AppGetLayoutResponse = await send("AppGetLayout", pb.AppGetLayoutRequest(app_id=app_id))
    return tuple(sorted(found.app_layout.class_ids))


async def count_containers(app_id: str) -> int:
    """Count the containers of an app that run, or are about to."""
    found: pb.TaskListResponse = await send("TaskList", pb.TaskListRequest(app_id=app_id))
    return len(found.tasks)


async def get_tags(app_id: str) -> dict[str, str]:
    """Read the tags of an app."""
    found: pb.AppGetTagsResponse = await send("AppGetTags", pb.AppGetTagsRequest(app_id=app_id))
    return dict(found.tags)


async def set_tags(app_id: str, tags: dict[str, str]) -> None:
    """Replace the tags of an app."""
    await send("AppSetTags", pb.AppSetTagsRequest(app_id=app_id, tags=tags))


def start_loop() -> None:
    """Start the event loop of Modal's client, unless it runs: a call that is canceled while it starts is dropped unawaited."""
    synchronizer._get_loop(start=True)


async def send(call: str, request: Any) -> Any:
    """Send one of the calls of Modal's service, and return its answer."""
    return await _on_modals_loop.aio(call, request)


async def _call(call: str, request: Any) -> Any:
    client = await _Client.from_env()
    return await getattr(client._stub, call)(request)


_on_modals_loop: Any = synchronizer.create_blocking(_call)
"""Modal's client lives on an event loop of its own, in a thread of its own."""
