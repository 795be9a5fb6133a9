"""Functions and classes: their definitions, variants and autoscaler settings. Knows no call and starts no container itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from tests.modal_loopback.rpc import Caller
from tests.modal_loopback.state import App, Function, World, found

GPUS = frozenset(["T4", "L4", "A10", "A10G", "L40S", "A100", "A100-40GB", "A100-80GB", "H100", "H200", "B200", "ANY"])
"""GPU types Modal rents (its documentation, read 2026-09); another name is refused at deploy."""

OPTIONS = (
    "timeout_secs", "concurrency_limit", "task_idle_timeout_secs", "warm_pool_size", "max_concurrent_inputs",
    "target_concurrent_inputs", "cloud_provider_str",
)  # fmt: skip
"""Fields that mean the same in a definition and in the options of a variant."""


def definition_of(function: Function) -> pb.Function:
    """What a function runs as: its own definition, or its base's with the options of the variant."""
    if function.base is None:
        return function.own
    merged, options = pb.Function(), function.options
    merged.CopyFrom(function.base.own)
    for field, value in options.ListFields():
        if field.name in OPTIONS:
            setattr(merged, field.name, value)
    if options.HasField("resources"):
        merged.resources.MergeFrom(options.resources)
    if options.replace_secret_ids:
        del merged.secret_ids[:]
        merged.secret_ids.extend(options.secret_ids)
    if options.replace_volume_mounts:
        del merged.volume_mounts[:]
        merged.volume_mounts.extend(options.volume_mounts)
    return merged


def autoscaler_of(function: Function) -> pb.AutoscalerSettings:
    """The settings in force: the definition's, under what ``update_autoscaler`` set."""
    definition, settings = definition_of(function), pb.AutoscalerSettings()
    settings.CopyFrom(definition.autoscaler_settings)
    if function.base is not None:
        settings.min_containers = definition.warm_pool_size if function.options.HasField("warm_pool_size") else 0
        settings.max_containers = definition.concurrency_limit
        settings.scaledown_window = definition.task_idle_timeout_secs
        if function.options.HasField("buffer_containers"):
            settings.buffer_containers = function.options.buffer_containers
    settings.MergeFrom(function.autoscaler)
    return settings


def handle_of(world: World, function: Function) -> pb.FunctionHandleMetadata:
    """What a client has to know about a function to call it."""
    own = (function.base or function).own
    handle = pb.FunctionHandleMetadata(
        function_name=own.function_name,
        function_type=own.function_type,
        definition_id=f"de-{function.id}",
        app_id=function.app.id,
        function_schema=own.function_schema,
        class_parameter_info=own.class_parameter_info,
        supported_input_formats=own.supported_input_formats,
        supported_output_formats=own.supported_output_formats,
        base_function_id=function.base.id if function.base else "",
    )
    owner = own.function_name.removesuffix(".*")
    for name, method in own.method_definitions.items():
        if f"{owner}.{name}" in world.knobs.missing_methods:
            continue
        handle.method_handle_metadata[name].CopyFrom(
            pb.FunctionHandleMetadata(
                function_name=method.function_name,
                function_type=method.function_type,
                is_method=True,
                use_method_name=name,
                app_id=function.app.id,
                function_schema=method.function_schema,
                supported_input_formats=method.supported_input_formats,
                supported_output_formats=method.supported_output_formats,
            )
        )
    return handle


def data_of(function: Function) -> pb.FunctionData:
    """A function with one definition per GPU, as the client reads it."""
    data = pb.FunctionData()
    for rank, definition in enumerate(function.ranked or [function.own]):
        data.ranked_functions.add(rank=rank, function=definition)
    return data


def deployed(world: World, name: str, environment: str) -> App | None:
    """The deployed app of that name, if there is one."""
    live = (app for app in world.apps.values() if app.state == pb.APP_STATE_DEPLOYED)
    return next((app for app in live if app.name == name and app.environment == (environment or "main")), None)


def stopped(world: World, name: str, environment: str) -> App | None:
    """The app of that name that was stopped last, if there is one."""
    known = [app for app in world.apps.values() if app.state == pb.APP_STATE_STOPPED]
    return next((app for app in reversed(known) if app.name == name and app.environment == (environment or "main")), None)


def layout_of(world: World, app: App, dependencies: Iterable[pb.ObjectDependency] = ()) -> pb.AppLayout:
    """What an app consists of, as deployments ask for it, and containers with all that their function depends on."""
    layout = pb.AppLayout(function_ids=app.functions, class_ids=app.classes)
    for function_id in app.functions.values():
        layout.objects.add(object_id=function_id, function_handle_metadata=handle_of(world, world.functions[function_id]))
    for class_id in app.classes.values():
        layout.objects.add(object_id=class_id, class_handle_metadata=pb.ClassHandleMetadata())
    for dependency in dependencies:
        layout.objects.add(object_id=dependency.object_id, volume_metadata=world.volumes.get(dependency.object_id))
    return layout


class Functions:
    """The definitions that deployments send and that clients look up by name."""

    def __init__(self, world: World, scale: Callable[[Function], None]) -> None:
        self._world = world
        self._scale = scale

    async def FunctionPrecreate(self, request: pb.FunctionPrecreateRequest, caller: Caller) -> pb.FunctionPrecreateResponse:
        function = self._declared(request.existing_function_id, request.app_id, request.function_name)
        if not function.own.function_name:  # a handle that knows its methods before the definition comes
            copy_shared(request, function.own)
        return pb.FunctionPrecreateResponse(function_id=function.id, handle_metadata=handle_of(self._world, function))

    async def FunctionCreate(self, request: pb.FunctionCreateRequest, caller: Caller) -> pb.FunctionCreateResponse:
        ranked = [item.function for item in request.function_data.ranked_functions]
        definitions = ranked or [request.function]
        for definition in definitions:
            gpu = definition.resources.gpu_config.gpu_type
            if gpu and gpu not in GPUS:
                raise GRPCError(Status.INVALID_ARGUMENT, f"'{gpu}' is not a GPU type")
        function = self._declared(request.existing_function_id, request.app_id, definitions[0].function_name)
        function.own, function.ranked = definitions[0], ranked
        function.autoscaler.Clear()  # a deploy resets what was set by hand
        handle, data = handle_of(self._world, function), data_of(function)
        return pb.FunctionCreateResponse(function_id=function.id, function=function.own, handle_metadata=handle, function_data=data)

    def _declared(self, existing_id: str, app_id: str, tag: str) -> Function:
        if existing_id in self._world.functions:
            return self._world.functions[existing_id]
        function = Function(existing_id or self._world.new_id("fu"), found(self._world.apps, app_id, "App"), tag)
        self._world.functions[function.id] = function
        return function

    async def ClassCreate(self, request: pb.ClassCreateRequest, caller: Caller) -> pb.ClassCreateResponse:
        class_id = request.existing_class_id or self._world.new_id("cs")
        return pb.ClassCreateResponse(class_id=class_id, handle_metadata=pb.ClassHandleMetadata())

    async def ClassGet(self, request: pb.ClassGetRequest, caller: Caller) -> pb.ClassGetResponse:
        app = self._app(request.app_name, request.environment_name)
        self._check_class(request.object_tag)
        class_id = found(app.classes, request.object_tag, f"App '{app.name}': class")
        return pb.ClassGetResponse(class_id=class_id, handle_metadata=pb.ClassHandleMetadata())

    async def FunctionGet(self, request: pb.FunctionGetRequest, caller: Caller) -> pb.FunctionGetResponse:
        app = self._app(request.app_name, request.environment_name)
        self._check_class(request.object_tag.removesuffix(".*"))
        function = self._world.functions[found(app.functions, request.object_tag, f"App '{app.name}': function")]
        handle, data = handle_of(self._world, function), data_of(function)
        return pb.FunctionGetResponse(function_id=function.id, handle_metadata=handle, function=data)

    def _app(self, name: str, environment: str) -> App:
        app = deployed(self._world, name, environment)
        if app is None:
            raise GRPCError(Status.NOT_FOUND, f"App '{name}' not found in environment '{environment or 'main'}'")
        return app

    def _check_class(self, name: str) -> None:
        if name in self._world.knobs.missing_classes:
            raise GRPCError(Status.NOT_FOUND, f"class '{name}' not found")

    async def FunctionBindParams(self, request: pb.FunctionBindParamsRequest, caller: Caller) -> pb.FunctionBindParamsResponse:
        base = found(self._world.functions, request.function_id, "Function")
        variant = next((known for known in self._world.functions.values() if is_variant(known, base, request)), None)
        if variant is None:
            variant = Function(self._world.new_id("fu"), base.app, base.tag, base=base, parameters=request.serialized_params)
            variant.options.CopyFrom(request.function_options)
            self._world.functions[variant.id] = variant
        return pb.FunctionBindParamsResponse(bound_function_id=variant.id, handle_metadata=handle_of(self._world, variant))

    async def FunctionUpdateSchedulingParams(
        self, request: pb.FunctionUpdateSchedulingParamsRequest, caller: Caller
    ) -> pb.FunctionUpdateSchedulingParamsResponse:
        function = found(self._world.functions, request.function_id, "Function")
        function.autoscaler.MergeFrom(request.settings)
        self._scale(function)
        return pb.FunctionUpdateSchedulingParamsResponse(current_settings=autoscaler_of(function))

    async def FunctionGetSchedulingParams(
        self, request: pb.FunctionGetSchedulingParamsRequest, caller: Caller
    ) -> pb.FunctionGetSchedulingParamsResponse:
        response = pb.FunctionGetSchedulingParamsResponse()
        response.autoscaler_configuration.settings.CopyFrom(
            autoscaler_of(found(self._world.functions, request.function_id, "Function"))
        )
        return response

    async def FunctionGetCurrentStats(self, request: pb.FunctionGetCurrentStatsRequest, caller: Caller) -> pb.FunctionStats:
        function = found(self._world.functions, request.function_id, "Function")
        running = sum(len(container.running) for container in function.containers)
        return pb.FunctionStats(backlog=len(function.waiting), num_total_tasks=len(function.containers), num_running_inputs=running)


def is_variant(known: Function, base: Function, request: pb.FunctionBindParamsRequest) -> bool:
    """Whether this variant of the class is the one that is asked for."""
    return known.base is base and known.parameters == request.serialized_params and known.options == request.function_options


def copy_shared(source: Message, target: Message) -> None:
    """Copy the fields that two messages share by name (their numbers differ)."""
    for field, value in source.ListFields():
        if field.name in target.DESCRIPTOR.fields_by_name:
            part = getattr(target, field.name)
            if hasattr(part, "MergeFrom"):
                part.MergeFrom(value)
            elif field.name not in ("app_id", "existing_function_id"):
                setattr(target, field.name, value)
