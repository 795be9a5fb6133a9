"""What a deploy registered, as plain data a person can read and a test can compare with a committed file."""

from __future__ import annotations

import re
from typing import Any

from modal_proto import api_pb2 as pb

from tests.modal_loopback.images import layers_of
from tests.modal_loopback.state import App, Function, World, name_of


def registered(world: World, app: App) -> dict[str, Any]:
    """An app with its classes, functions and images; nothing in it changes from one deploy to the next."""
    functions = {tag: world.functions[function_id] for tag, function_id in sorted(app.functions.items())}
    classes = {tag.removesuffix(".*"): function for tag, function in functions.items() if tag.endswith(".*")}
    return {
        "app": app.name,
        "environment": app.environment,
        "classes": {
            name: {"methods": sorted(function.own.method_definitions), **settings_of(world, function)}
            for name, function in classes.items()
        },
        "functions": {tag: settings_of(world, function) for tag, function in functions.items() if not tag.endswith(".*")},
    }


def settings_of(world: World, function: Function) -> dict[str, Any]:
    """The settings of one function or class; what is not set is left out."""
    own = function.own
    scaling, resources = own.autoscaler_settings, own.resources
    settings: dict[str, Any] = {
        "gpu": [gpu for definition in function.ranked or [own] if (gpu := gpu_of(definition))],
        "cpu": resources.milli_cpu / 1000,
        "memory_mb": resources.memory_mb,
        "ephemeral_disk_mb": resources.ephemeral_disk_mb,
        "timeout": own.timeout_secs,
        "startup_timeout": own.startup_timeout_secs,
        "max_inputs": own.max_concurrent_inputs,
        "target_inputs": own.target_concurrent_inputs,
        "min_containers": scaling.min_containers,
        "max_containers": scaling.max_containers,
        "buffer_containers": scaling.buffer_containers,
        "scaledown_window": scaling.scaledown_window,
        "regions": list(own.scheduler_placement.regions),
        "retries": own.retry_policy.retries,
        "memory_snapshot": own.checkpointing_enabled,
        "volumes": {item.mount_path: volume_of(world, item) for item in own.volume_mounts},
        "secrets": [name_of(world, "secret", secret_id) for secret_id in own.secret_ids],
        "python_sources": sources_of(world, own),
        "image": image_of(world, own.image_id),
    }
    return {name: value for name, value in settings.items() if value}


def gpu_of(definition: pb.Function) -> str:
    """A GPU as it is written in Python: ``L40S``, ``H100:2``."""
    gpu = definition.resources.gpu_config
    return f"{gpu.gpu_type}:{gpu.count}" if gpu.count > 1 else gpu.gpu_type


def volume_of(world: World, item: pb.VolumeMount) -> str:
    """A mounted volume by name, and whether it can be written."""
    return name_of(world, "volume", item.volume_id) + (" (read-only)" if item.read_only else "")


def sources_of(world: World, definition: pb.Function) -> list[str]:
    """The top-level modules that are mounted into the container."""
    files = (file.filename for mount_id in definition.mount_ids for file in world.mounts.get(mount_id, []))
    return sorted({name.split("/")[2].removesuffix(".py") for name in files if name.startswith("/root/")})


def image_of(world: World, image_id: str) -> list[str]:
    """An image as the commands that build it, lowest layer first."""
    return [line for layer in layers_of(world, image_id) for line in layer_of(world, layer)]


def layer_of(world: World, layer: pb.ImageGetOrCreateRequest) -> list[str]:
    """One layer: its Dockerfile commands, or the function that is run to build it, with what it is given."""
    image = layer.image
    lines = [line for line in image.dockerfile_commands if line.strip() and not line.startswith("FROM base")]
    if not image.base_images:  # what follows the first line is Modal's own and changes with its version, as does the patch number
        return [re.sub(r"^(FROM python:3\.\d+)\.\d+", r"\1", line) for line in lines[:1]]
    for file in image.context_files:
        lines += [f"# {file.filename}", *(f"#   {line}" for line in file.data.decode(errors="replace").splitlines())]
    if layer.build_function_id in world.functions:
        builder = world.functions[layer.build_function_id].own
        lines.append(f"RUN FUNCTION {builder.function_name}" + (f" WITH GPU {gpu}" if (gpu := gpu_of(builder)) else ""))
    if gpu := image.gpu_config.gpu_type:
        lines.append(f"# built with a GPU: {gpu}")
    lines += [f"# built with the secret {name_of(world, 'secret', secret_id)}" for secret_id in image.secret_ids]
    return lines
