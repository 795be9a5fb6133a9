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


async def find_app(name: str, environment: str | None) -> AppFound:
    """Look an app up by name. ``app_id`` is empty where none is deployed; then ``lifecycle`` is that of the one stopped last."""
    request = pb.AppGetByDeploymentNameRequest(name=name, environment_name=_get_environment_name(environment) or "")
    found: AppFound = await _send("AppGetByDeploymentName", request)
    return found


async def list_versions(app_id: str) -> AppVersions:
    """List every deployment of an app, and which one is live."""
    found: AppVersions = await _send("AppDeploymentHistory", pb.AppDeploymentHistoryRequest(app_id=app_id))
    return found


async def roll_back(app_id: str, version: int) -> None:
    """Deploy a version of an app again, as a new one."""
    await _send("AppRollback", pb.AppRollbackRequest(app_id=app_id, version=version))


async def stop_app(app_id: str) -> None:
    """Stop an app for good: its containers end at once, and its name is free."""
    await _send("AppStop", pb.AppStopRequest(app_id=app_id, source=pb.APP_STOP_SOURCE_PYTHON_CLIENT))


async def list_classes(app_id: str) -> tuple[str, ...]:
    """List the classes of an app."""
    found: pb.AppGetLayoutResponse = await _send("AppGetLayout", pb.AppGetLayoutRequest(app_id=app_id))
    return tuple(sorted(found.app_layout.class_ids))


async def count_containers(app_id: str) -> int:
    """Count the containers of an app that run, or are about to."""
    found: pb.TaskListResponse = await _send("TaskList", pb.TaskListRequest(app_id=app_id))
    return len(found.tasks)


async def get_tags(app_id: str) -> dict[str, str]:
    """Read the tags of an app."""
    found: pb.AppGetTagsResponse = await _send("AppGetTags", pb.AppGetTagsRequest(app_id=app_id))
    return dict(found.tags)


async def set_tags(app_id: str, tags: dict[str, str]) -> None:
    """Replace the tags of an app."""
    await _send("AppSetTags", pb.AppSetTagsRequest(app_id=app_id, tags=tags))


async def _send(call: str, request: Any) -> Any:
    return await _on_modals_loop.aio(call, request)


async def _call(call: str, request: Any) -> Any:
    client = await _Client.from_env()
    return await getattr(client._stub, call)(request)


_on_modals_loop: Any = synchronizer.create_blocking(_call)
"""Modal's client lives on an event loop of its own, in a thread of its own."""
