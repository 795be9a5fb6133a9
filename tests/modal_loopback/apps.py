"""Sessions, environments and apps: who the caller is, and what is deployed under which name. Runs nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from tests.modal_loopback.containers import Containers
from tests.modal_loopback.functions import deployed, layout_of, stopped
from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import App, Version, World, found


class Sessions:
    """Tokens, the workspace behind them, and its environments."""

    def __init__(self, world: World, workspace: str, environments: tuple[str, ...], token: tuple[str, str]) -> None:
        self._world = world
        self._workspace = workspace
        self._environments = environments
        self._token = token
        self._token_flows: dict[str, str] = {}

    async def ClientHello(self, request: Empty, caller: Caller) -> pb.ClientHelloResponse:
        return pb.ClientHelloResponse(image_builder_version=self._world.knobs.image_builder)

    async def AuthTokenGet(self, request: pb.AuthTokenGetRequest, caller: Caller) -> pb.AuthTokenGetResponse:
        claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 3600}).encode()).decode().rstrip("=")
        return pb.AuthTokenGetResponse(token=f"e30.{claims}.x")

    async def WorkspaceNameLookup(self, request: Empty, caller: Caller) -> pb.WorkspaceNameLookupResponse:
        return pb.WorkspaceNameLookupResponse(workspace_name=self._workspace, username=self._workspace)

    async def TokenInfoGet(self, request: pb.TokenInfoGetRequest, caller: Caller) -> pb.TokenInfoGetResponse:
        return pb.TokenInfoGetResponse(token_id=self._token[0], workspace_id="ac-1", workspace_name=self._workspace)

    async def TokenFlowCreate(self, request: pb.TokenFlowCreateRequest, caller: Caller) -> pb.TokenFlowCreateResponse:
        flow = self._world.new_id("tf")
        self._token_flows[flow] = f"secret of {flow}"
        address = f"https://modal.invalid/token-flow/{flow}"
        return pb.TokenFlowCreateResponse(token_flow_id=flow, web_url=address, code="abcd", wait_secret=self._token_flows[flow])

    async def TokenFlowWait(self, request: pb.TokenFlowWaitRequest, caller: Caller) -> pb.TokenFlowWaitResponse:
        """Answer once the person agreed in the browser, or that the time is up: the client then asks again."""
        if self._token_flows.get(request.token_flow_id) != request.wait_secret:
            raise GRPCError(Status.NOT_FOUND, f"Token flow '{request.token_flow_id}' not found")
        deadline = time.monotonic() + request.timeout
        while not self._world.knobs.confirm_token:
            if time.monotonic() > deadline:
                return pb.TokenFlowWaitResponse(timeout=True)
            await asyncio.sleep(0.02)
        token_id, secret = self._token
        return pb.TokenFlowWaitResponse(token_id=token_id, token_secret=secret, workspace_username=self._workspace)

    async def EnvironmentGetOrCreate(
        self, request: pb.EnvironmentGetOrCreateRequest, caller: Caller
    ) -> pb.EnvironmentGetOrCreateResponse:
        name = request.deployment_name or "main"
        if name not in self._environments:
            raise GRPCError(Status.NOT_FOUND, f"Environment '{name}' not found")
        settings = pb.EnvironmentSettings(image_builder_version=self._world.knobs.image_builder)
        metadata = pb.EnvironmentMetadata(name=name, settings=settings)
        return pb.EnvironmentGetOrCreateResponse(environment_id=f"en-{name}", metadata=metadata)


class Apps:
    """Apps from the first declaration to the last deployment."""

    def __init__(self, world: World, containers: Containers, user: str) -> None:
        self._world = world
        self._containers = containers
        self._user = user

    async def AppCreate(self, request: pb.AppCreateRequest, caller: Caller) -> pb.AppCreateResponse:
        app = App(self._world.new_id("ap"), request.description, request.environment_name or "main", request.app_state)
        self._world.apps[app.id] = app
        return pb.AppCreateResponse(app_id=app.id, app_page_url=f"https://loopback.invalid/{app.id}")

    async def AppList(self, request: pb.AppListRequest, caller: Caller) -> pb.AppListResponse:
        """Every app of an environment, those that were stopped too."""
        apps = [app for app in self._world.apps.values() if app.environment == (request.environment_name or "main")]
        items = [
            pb.AppListResponse.AppListItem(app_id=app.id, name=app.name, description=app.name, state=app.state) for app in apps
        ]
        return pb.AppListResponse(apps=items)

    async def AppGetByDeploymentName(
        self, request: pb.AppGetByDeploymentNameRequest, caller: Caller
    ) -> pb.AppGetByDeploymentNameResponse:
        app = deployed(self._world, request.name, request.environment_name)
        before = None if app else stopped(self._world, request.name, request.environment_name)
        known = app or before
        return pb.AppGetByDeploymentNameResponse(
            app_id=app.id if app else "",
            previous_app_id=before.id if before else "",
            environment_name=request.environment_name or "main",
            lifecycle=self._lifecycle(known) if known else None,
        )

    def _lifecycle(self, app: App) -> pb.AppLifecycle:
        """When an app was created, deployed and stopped, and by whom: here everybody is the workspace."""
        lifecycle = pb.AppLifecycle(app_state=app.state, created_at=app.created_at, created_by=self._user)
        if app.versions:
            last = app.versions[-1].entry
            lifecycle.version, lifecycle.deployed_at, lifecycle.deployed_by = last.version, last.deployed_at, last.deployed_by
        if app.stopped_at:
            lifecycle.stopped_at, lifecycle.stopped_by = app.stopped_at, self._user
        return lifecycle

    async def AppGetOrCreate(self, request: pb.AppGetOrCreateRequest, caller: Caller) -> pb.AppGetOrCreateResponse:
        app = deployed(self._world, request.app_name, request.environment_name)
        if app is None:
            raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' not found")
        return pb.AppGetOrCreateResponse(app_id=app.id)

    async def AppGetLayout(self, request: pb.AppGetLayoutRequest, caller: Caller) -> pb.AppGetLayoutResponse:
        return pb.AppGetLayoutResponse(app_layout=layout_of(self._world, found(self._world.apps, request.app_id, "App")))

    async def AppPublish(self, request: pb.AppPublishRequest, caller: Caller) -> pb.AppPublishResponse:
        app = found(self._world.apps, request.app_id, "App")
        app.name, app.state = request.name or app.name, request.app_state
        app.functions, app.classes = dict(request.function_ids), dict(request.class_ids)
        app.tags = dict(request.tags)
        if app.state == pb.APP_STATE_DEPLOYED:
            commit = request.commit_info if request.HasField("commit_info") else None
            self._keep_version(app, caller, pb.AppDeploymentHistory(tag=request.deployment_tag, commit_info=commit))
        self._containers.replace(app)
        return pb.AppPublishResponse(url=f"https://loopback.invalid/{app.id}", deployed_at=time.time())

    def _keep_version(self, app: App, caller: Caller, entry: pb.AppDeploymentHistory) -> None:
        """Give what is deployed now the next number."""
        entry.app_id, entry.version, entry.client_version = app.id, len(app.versions) + 1, caller.client_version
        entry.deployed_at, entry.deployed_by = time.time(), self._user
        known = {function_id: self._world.functions[function_id] for function_id in app.functions.values()}
        definitions = {function_id: (one.own, one.ranked) for function_id, one in known.items()}
        app.versions.append(Version(entry, app.functions, app.classes, definitions))

    async def AppDeploymentHistory(
        self, request: pb.AppDeploymentHistoryRequest, caller: Caller
    ) -> pb.AppDeploymentHistoryResponse:
        app = found(self._world.apps, request.app_id, "App")
        response = pb.AppDeploymentHistoryResponse()
        for version in reversed(app.versions):
            entry = response.app_deployment_histories.add()
            entry.CopyFrom(version.entry)
            entry.rollback_allowed = version is not app.versions[-1]
        if app.state == pb.APP_STATE_DEPLOYED:
            response.production_app_version = len(app.versions)
        return response

    async def AppRollback(self, request: pb.AppRollbackRequest, caller: Caller) -> pb.AppRollbackResponse:
        """Deploy an earlier version again, as a new one; -1 is the one before. The tags stay: Modal does not say what it does."""
        app = found(self._world.apps, request.app_id, "App")
        if app.state != pb.APP_STATE_DEPLOYED:
            raise GRPCError(Status.FAILED_PRECONDITION, f"App '{app.name}' is not deployed")
        number = len(app.versions) - 1 if request.version == -1 else request.version
        if not 1 <= number <= len(app.versions):
            raise GRPCError(Status.NOT_FOUND, f"App '{app.name}' has no version {request.version}")
        back = app.versions[number - 1]
        app.functions, app.classes = back.functions, back.classes
        for function_id, (own, ranked) in back.definitions.items():
            function = self._world.functions[function_id]
            function.own, function.ranked = own, ranked
            function.autoscaler.Clear()
        entry = pb.AppDeploymentHistory(tag=back.entry.tag, rollback_version=number, deployment_type=pb.DEPLOYMENT_TYPE_ROLLBACK)
        self._keep_version(app, caller, entry)
        self._containers.replace(app)
        return pb.AppRollbackResponse(url=f"https://loopback.invalid/{app.id}", deployed_at=time.time())

    async def AppSetTags(self, request: pb.AppSetTagsRequest, caller: Caller) -> Empty:
        found(self._world.apps, request.app_id, "App").tags = dict(request.tags)
        return Empty()

    async def AppGetTags(self, request: pb.AppGetTagsRequest, caller: Caller) -> pb.AppGetTagsResponse:
        return pb.AppGetTagsResponse(tags=found(self._world.apps, request.app_id, "App").tags)

    async def AppStop(self, request: pb.AppStopRequest, caller: Caller) -> Empty:
        app = found(self._world.apps, request.app_id, "App")
        app.state, app.stopped_at = pb.APP_STATE_STOPPED, time.time()
        await self._containers.end(app)
        return Empty()

    async def AppHeartbeat(self, request: pb.AppHeartbeatRequest, caller: Caller) -> Empty:
        return Empty()

    async def AppClientDisconnect(self, request: pb.AppClientDisconnectRequest, caller: Caller) -> Empty:
        """Stop an app that lives only as long as its client."""
        app = found(self._world.apps, request.app_id, "App")
        if app.state == pb.APP_STATE_EPHEMERAL:
            app.state, app.stopped_at = pb.APP_STATE_STOPPED, time.time()
            await self._containers.end(app)
        return Empty()

    async def AppGetLogs(self, request: pb.AppGetLogsRequest, caller: Caller) -> AsyncIterator[pb.TaskLogsBatch]:
        """Say only when an app has ended; what its containers write is in their own files."""
        app, deadline = found(self._world.apps, request.app_id, "App"), time.monotonic() + request.timeout
        while app.state != pb.APP_STATE_STOPPED and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        yield pb.TaskLogsBatch(app_done=app.state == pb.APP_STATE_STOPPED)
