"""What the classes run on, how a deploy changes it, and what its containers hear of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from ryla_gen.costs.prices import GPU_USD_PER_SECOND
from ryla_gen.errors import InvalidInputError
from ryla_gen.remote import costs
from ryla_gen.remote.config import FAMILIES, class_options, concurrency, container_environment, deployed_family, inside
from ryla_gen.remote.container_paths import Places
from ryla_gen.remote.deploy import DeployChanges
from ryla_gen.remote.variants import variants
from ryla_gen.settings import Settings
from ryla_gen.workflows.registry import BUILT_IN, workflow_class


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "workflow"])
def test_every_family_gives_its_workflows_the_time_they_ask_for(name: str) -> None:
    cls = workflow_class(name)
    family = FAMILIES[cls.family]
    assert max(request.time_limit() for request in variants(cls)) <= family.limit
    assert family.timeout == family.max_inputs * family.limit + family.load


def test_the_autoscaler_counts_one_request_a_container_and_few_wait_behind_a_long_one() -> None:
    assert {concurrency(name)["target_inputs"] for name in FAMILIES} == {1}
    most = {name: concurrency(name)["max_inputs"] for name in FAMILIES}
    short, long = ("z_image", "flux", "flux2", "sdxl", "faces"), ("qwen", "video", "upscale", "custom")
    assert most == {**dict.fromkeys(short, 5), **dict.fromkeys(long, 2)}


def test_config_toml_and_variables_change_what_a_deploy_registers(clean_environment: Path) -> None:
    clean_environment.mkdir()
    (clean_environment / "config.toml").write_text('[modal.families.flux]\ngpu = ["H100", "L40S"]\nmin_containers = 1\n')
    env = {
        "RYLA_GEN_HOME": str(clean_environment),
        "RYLA_GEN_MODAL_FAMILIES_FLUX_SCALEDOWN_WINDOW": "60",
        "RYLA_GEN_MODAL_FAMILIES_FLUX_BUFFER_CONTAINERS": "2",
        "RYLA_DEPLOY_REGION": "us-east, eu",
        "RYLA_PRELOAD": "1",
    }
    config = deployed_family("flux", Settings.load(env))
    options = class_options(config)
    assert options["gpu"] == ["H100", "L40S"]
    assert (options["min_containers"], options["max_containers"], options["scaledown_window"]) == (1, 10, 60)
    assert (options["buffer_containers"], class_options(FAMILIES["flux"])["buffer_containers"]) == (2, 0)
    assert options["region"] == ["us-east", "eu"]
    assert inside("flux", container_environment(config)) == config, "the container hears all of it"
    assert deployed_family("video", Settings.load(env)).gpu == ("L40S",)


def test_region_and_preload_come_from_config_toml_and_a_flag_beats_both_variables(clean_environment: Path) -> None:
    clean_environment.mkdir()
    (clean_environment / "config.toml").write_text('[modal]\nregion = ["eu", "uk"]\npreload = true\n')
    env = {"RYLA_GEN_HOME": str(clean_environment)}
    config = deployed_family("video", Settings.load(env))
    assert (config.region, config.preloads) == (("eu", "uk"), True)
    assert inside("video", container_environment(config)) == config
    variables = env | {"RYLA_DEPLOY_REGION": "us", "RYLA_PRELOAD": "no"}
    assert {(item.region, item.preloads) for item in DeployChanges().configs(variables)} == {(("us",), False)}
    flags = DeployChanges(region="ap", preload=True).configs(
        variables | {"RYLA_GEN_MODAL_REGION": "ca", "RYLA_GEN_MODAL_PRELOAD": "no"}
    )
    assert {(item.region, item.preloads) for item in flags} == {(("ap",), True)}
    assert {item.preloads for item in DeployChanges(preload=False).configs(env)} == {False}


def test_without_a_word_everything_is_as_in_the_table() -> None:
    for family, config in FAMILIES.items():
        assert deployed_family(family, Settings.load({"HOME": "/nowhere"})) == config
        assert container_environment(config) == {"RYLA_FAMILY": "{}"}
        assert class_options(config)["gpu"] == "L40S"
        assert class_options(config)["scaledown_window"] == 300


def test_more_containers_kept_warm_than_allowed_is_refused(clean_environment: Path) -> None:
    env = {"RYLA_GEN_HOME": str(clean_environment), "RYLA_GEN_MODAL_FAMILIES_FACES_MIN_CONTAINERS": "11"}
    with pytest.raises(InvalidInputError, match="min_containers is 11"):
        deployed_family("faces", Settings.load(env))


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("cuda:0 NVIDIA L40S : cudaMallocAsync", "L40S"),
        ("cuda:0 NVIDIA L4 : cudaMallocAsync", "L4"),
        ("cuda:0 NVIDIA H100 80GB HBM3 : cudaMallocAsync", "H100"),
        ("cuda:0 NVIDIA H200 : cudaMallocAsync", "H200"),
        ("cuda:0 NVIDIA A100-SXM4-40GB : cudaMallocAsync", "A100-40GB"),
        ("cuda:0 NVIDIA A100 80GB PCIe : cudaMallocAsync", "A100-80GB"),
        ("cuda:0 NVIDIA A10G : cudaMallocAsync", "A10"),
        ("cuda:0 Tesla T4 : cudaMallocAsync", "T4"),
        ("cuda:0 NVIDIA B200 : native", "B200"),
        ("emulated on x86_64", "H100"),
        (None, "H100"),
    ],
)
def test_the_gpu_is_the_one_that_is_there(device: str | None, name: str) -> None:
    assert costs.gpu_name(device, ("H100!", "L40S")) == name
    assert name in GPU_USD_PER_SECOND


def test_a_run_costs_its_seconds_of_gpu_cores_and_memory() -> None:
    cost = costs.cost_of(10.0, "H100", count=costs.gpu_count(("H100:2",)), cpu=4.0, memory=32_768)
    assert cost.gpu_usd == pytest.approx(10 * 2 * 0.001097)
    assert cost.cpu_usd == pytest.approx(10 * 4 * 0.0000131)
    assert cost.memory_usd == pytest.approx(10 * 32 * 0.00000222)
    assert cost.total_usd == pytest.approx(cost.gpu_usd + cost.cpu_usd + cost.memory_usd)
    assert (cost.gpu, cost.gpu_seconds, cost.prices_as_of, cost.region_factor) == ("H100", 10.0, "2026-09-01", 1.0)


@pytest.mark.parametrize(("region", "factor"), [((), 1.0), (("eu",), 1.25), (("us-east", "ca"), 1.25), (("ca-toronto",), 2.5)])
def test_a_region_multiplies_every_part_of_a_cost(region: tuple[str, ...], factor: float) -> None:
    anywhere = costs.cost_of(10.0, "L40S", cpu=4.0, memory=32_768)
    there = costs.cost_of(10.0, "L40S", cpu=4.0, memory=32_768, region=region)
    assert there.region_factor == factor
    assert there.gpu_seconds == anywhere.gpu_seconds
    for name in ("total_usd", "gpu_usd", "cpu_usd", "memory_usd"):
        assert getattr(there, name) == pytest.approx(factor * getattr(anywhere, name))


def test_comfyui_sees_no_secret_and_all_of_the_volume(tmp_path: Path) -> None:
    env = {
        "RYLA_WORK_FOLDER": str(tmp_path / "work"),
        "RYLA_VOLUME_ROOT": str(tmp_path / "volumes"),
        "RYLA_COMFYUI_FOLDER": str(tmp_path / "ComfyUI"),
        "MODAL_TASK_ID": "ta-1",
    }
    empty = tmp_path / "ComfyUI" / "models" / "insightface" / "models"
    empty.mkdir(parents=True)
    kept = tmp_path / "ComfyUI" / "models" / "facexlib" / "own.pth"
    kept.parent.mkdir()
    kept.write_bytes(b"somebody's")
    places = Places.from_environment(env)
    places.prepare()
    places.prepare()
    seen = places.environment({**env, "HF_TOKEN": "hf_secret", "MODAL_TOKEN_SECRET": "as-secret", "PATH": "/bin"})
    assert seen["PATH"] == "/bin"
    assert "hf_secret" not in seen.values()
    assert "as-secret" not in seen.values()
    text = (tmp_path / "work" / "ta-1" / "extra_model_paths.yaml").read_text()
    volume = tmp_path / "volumes" / "ryla-models"
    assert f"  base_path: {volume}\n" in text
    assert {"  checkpoints: checkpoints", "  text_encoders: text_encoders", "  seedvr2: SEEDVR2", "  pulid: pulid"} <= set(
        text.splitlines()
    )
    assert text.index("loras: loras") < text.index(str(volume)), "the container's own copies come first"
    link = tmp_path / "ComfyUI" / "models" / "insightface"
    assert link.readlink() == volume / "insightface"
    assert kept.read_bytes() == b"somebody's"
    assert str(places.work) in " ".join(places.arguments())
    assert "{port}" in places.arguments()
