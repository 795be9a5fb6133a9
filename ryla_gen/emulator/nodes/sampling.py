"""Emulate nodes that sample: the plain samplers, the custom ones with their parts, and the nodes that change a model's sampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import Context, NodeResult, node
from ..conditioning import Conditioning, Prompt
from ..model import Model
from ..sampling import flow
from ..sampling.flow import ModelSampling, Sigmas
from ..sampling.run import Guider, Latent, Noise, fitting_samples, sample, sample_both
from ..sampling.samplers import sampler_named


@node("KSampler")
def ksampler(
    context: Context,
    model: Model,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    denoise: float = 1.0,
) -> NodeResult:
    """Sample a picture from noise."""
    sigmas = flow.sampling_levels(model.sampling, scheduler, steps, sampler_name, denoise)
    guider = Guider(model, positive, negative, cfg)
    return NodeResult((sample(context, guider, Noise(seed), sampler_named(sampler_name), sigmas, latent_image),))


@node("KSamplerAdvanced")
def ksampler_advanced(
    context: Context,
    model: Model,
    add_noise: str,
    noise_seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    start_at_step: int,
    end_at_step: int,
    return_with_leftover_noise: str,
) -> NodeResult:
    """Sample a part of the levels, so that several samplers can share one run."""
    sigmas = flow.sampling_levels(model.sampling, scheduler, steps, sampler_name)
    if end_at_step < len(sigmas) - 1:
        sigmas = sigmas[: end_at_step + 1].copy()
        if return_with_leftover_noise == "disable":
            sigmas[-1] = 0.0
    sigmas = sigmas[start_at_step:] if start_at_step < len(sigmas) - 1 else sigmas[:0]
    guider = Guider(model, positive, negative, cfg)
    noise = Noise(noise_seed, disabled=add_noise == "disable")
    return NodeResult((sample(context, guider, noise, sampler_named(sampler_name), sigmas, latent_image),))


@node("SamplerCustom")
def sampler_custom(
    context: Context,
    model: Model,
    add_noise: bool,
    noise_seed: int,
    cfg: float,
    positive: Conditioning,
    negative: Conditioning,
    sampler: dict[str, Any],
    sigmas: Sigmas,
    latent_image: Latent,
) -> NodeResult:
    """Sample with given levels."""
    guider = Guider(model, positive, negative, cfg)
    return _custom(context, guider, Noise(noise_seed, disabled=not add_noise), sampler, sigmas, latent_image)


@node("SamplerCustomAdvanced")
def sampler_custom_advanced(
    context: Context, noise: Noise, guider: Guider, sampler: dict[str, Any], sigmas: Sigmas, latent_image: Latent
) -> NodeResult:
    """Sample with noise, guider, sampler and levels that are nodes of their own."""
    return _custom(context, guider, noise, sampler, sigmas, latent_image)


def _custom(
    context: Context, guider: Guider, noise: Noise, sampler: dict[str, Any], sigmas: Sigmas, latent_image: Latent
) -> NodeResult:
    run = sampler_named(sampler["name"])
    return NodeResult(sample_both(context, guider, noise, run, sigmas, latent_image, **sampler.get("options", {})))


@node("BasicGuider")
def basic_guider(context: Context, model: Model, conditioning: Conditioning) -> NodeResult:
    """Guide by one prompt, without classifier-free guidance."""
    return NodeResult((Guider(model, conditioning),))


@node("CFGGuider")
def cfg_guider(context: Context, model: Model, positive: Conditioning, negative: Conditioning, cfg: float) -> NodeResult:
    """Guide by classifier-free guidance."""
    return NodeResult((Guider(model, positive, negative, cfg),))


@node("DualModelGuider")
def dual_model_guider(
    context: Context,
    model: Model,
    positive: Conditioning,
    cfg: float,
    model_negative: Model | None = None,
    negative: Conditioning | None = None,
) -> NodeResult:
    """Guide by classifier-free guidance whose negative half runs on another model; here on the same one."""
    return NodeResult((Guider(model, positive, negative or (Prompt(zeroed=True),), cfg),))


@node("RandomNoise")
def random_noise(context: Context, noise_seed: int) -> NodeResult:
    """Make noise from a seed."""
    return NodeResult((Noise(noise_seed),))


@node("DisableNoise")
def disable_noise(context: Context) -> NodeResult:
    """Turn noise off."""
    return NodeResult((Noise(0, disabled=True),))


@node("AddNoise")
def add_noise(context: Context, model: Model, noise: Noise, sigmas: Sigmas, latent_image: Latent) -> NodeResult:
    """Add the noise of the first level (or of the way to the last one) to a latent."""
    if len(sigmas) == 0:
        return NodeResult((latent_image,))
    scale = np.float32(abs(sigmas[0] - sigmas[-1]) if len(sigmas) > 1 else sigmas[0])
    samples = fitting_samples(model, latent_image)
    kept = 1 - scale if model.sampling.is_flow else np.float32(1.0)
    noised = kept * samples + scale * noise.draw(latent_image, samples.shape)
    return NodeResult(({**latent_image, "samples": noised, "space": model.space},))


@node("BasicScheduler")
def basic_scheduler(context: Context, model: Model, scheduler: str, steps: int, denoise: float) -> NodeResult:
    """Compute the levels of a named schedule for one model."""
    return NodeResult((flow.denoised_tail(model.sampling, scheduler, steps, denoise),))


@node("KarrasScheduler")
def karras_scheduler(context: Context, steps: int, sigma_max: float, sigma_min: float, rho: float) -> NodeResult:
    """Compute Karras levels between two given ones."""
    return NodeResult((flow.karras(steps, sigma_min, sigma_max, rho),))


@node("ExponentialScheduler")
def exponential_scheduler(context: Context, steps: int, sigma_max: float, sigma_min: float) -> NodeResult:
    """Compute exponential levels between two given ones."""
    return NodeResult((flow.exponential(steps, sigma_min, sigma_max),))


@node("PolyexponentialScheduler")
def polyexponential_scheduler(context: Context, steps: int, sigma_max: float, sigma_min: float, rho: float) -> NodeResult:
    """Compute polyexponential levels between two given ones."""
    return NodeResult((flow.polyexponential(steps, sigma_min, sigma_max, rho),))


@node("LaplaceScheduler")
def laplace_scheduler(context: Context, steps: int, sigma_max: float, sigma_min: float, mu: float, beta: float) -> NodeResult:
    """Compute Laplace levels between two given ones."""
    return NodeResult((flow.laplace(steps, sigma_min, sigma_max, mu, beta),))


@node("BetaSamplingScheduler")
def beta_scheduler(context: Context, model: Model, steps: int, alpha: float, beta: float) -> NodeResult:
    """Compute beta levels with given shape."""
    return NodeResult((flow.beta(model.sampling, steps, alpha, beta),))


@node("SplitSigmas")
def split_sigmas(context: Context, sigmas: Sigmas, step: int) -> NodeResult:
    """Cut the levels after a step."""
    return NodeResult((sigmas[: step + 1], sigmas[step:]))


@node("SplitSigmasDenoise")
def split_sigmas_denoise(context: Context, sigmas: Sigmas, denoise: float) -> NodeResult:
    """Cut the levels so that the second part is a share of the steps."""
    count = round((max(len(sigmas) - 1, 0)) * denoise)
    return NodeResult((sigmas[:-count] if count else sigmas[:0], sigmas[-(count + 1) :]))


@node("FlipSigmas")
def flip_sigmas(context: Context, sigmas: Sigmas) -> NodeResult:
    """Reverse the levels, for adding noise step by step."""
    flipped = sigmas[::-1].copy()
    if len(flipped) and flipped[0] == 0:
        flipped[0] = 0.0001
    return NodeResult((flipped,))


@node("SetFirstSigma")
def set_first_sigma(context: Context, sigmas: Sigmas, sigma: float) -> NodeResult:
    """Replace the first level."""
    changed = sigmas.copy()
    changed[0] = sigma
    return NodeResult((changed,))


@node("ModelSamplingFlux")
def model_sampling_flux(context: Context, model: Model, max_shift: float, base_shift: float, width: int, height: int) -> NodeResult:
    """Set Flux's shift for a size."""
    return NodeResult((model.with_sampling(ModelSampling("flux", flow.flux_shift(max_shift, base_shift, width, height))),))


@node("ModelSamplingSD3")
def model_sampling_sd3(context: Context, model: Model, shift: float) -> NodeResult:
    """Set the shift of SD3 and Wan."""
    return NodeResult((model.with_sampling(ModelSampling("flow", shift)),))


@node("ModelSamplingAuraFlow")
def model_sampling_aura_flow(context: Context, model: Model, shift: float) -> NodeResult:
    """Set the shift of AuraFlow, whose timestep is the level itself."""
    return NodeResult((model.with_sampling(ModelSampling("flow", shift, 1.0)),))


def _keep_model(context: Context, model: Model, **_: Any) -> NodeResult:
    """Return the model as it is: the emulated one has nothing to skip or compile, so speed-ups change nothing."""
    return NodeResult((model,))


for _class_type in ("EasyCache", "LazyCache", "TorchCompileModel", "CFGNorm", "CFGZeroStar", "ModelComputeDtype", "wanBlockSwap"):
    node(_class_type)(_keep_model)
