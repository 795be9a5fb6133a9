"""Emulate nodes that choose a sampler and set its options; ``SamplerCustom`` and its relatives run it."""

from __future__ import annotations

from typing import Any

from ..base import Context, NodeResult, node
from ..sampling.samplers import sampler_named


def _named_sampler(name: str, **options: Any) -> NodeResult:
    """Make a SAMPLER: a name, and the options that are not the sampler's own defaults (fields of ``Walk``)."""
    sampler_named(name)
    return NodeResult(({"name": name, "options": options},))


@node("KSamplerSelect")
def ksampler_select(context: Context, sampler_name: str) -> NodeResult:
    """Choose a sampler by name."""
    return _named_sampler(sampler_name)


@node("SamplerEulerAncestral")
def sampler_euler_ancestral(context: Context, eta: float, s_noise: float) -> NodeResult:
    """Choose Euler ancestral with its amounts of noise."""
    return _named_sampler("euler_ancestral", eta=eta, s_noise=s_noise)


@node("SamplerEulerAncestralCFGPP")
def sampler_euler_ancestral_cfg_pp(context: Context, eta: float, s_noise: float) -> NodeResult:
    """Choose Euler ancestral of CFG++ with its amounts of noise."""
    return _named_sampler("euler_ancestral_cfg_pp", eta=eta, s_noise=s_noise)


@node("SamplerEulerCFGpp")
def sampler_euler_cfg_pp(context: Context, version: str) -> NodeResult:
    """Choose Euler of CFG++, whose two versions are one here."""
    return _named_sampler("euler_cfg_pp")


@node("SamplerDPMPP_2M_SDE")
def sampler_dpmpp_2m_sde(context: Context, solver_type: str, eta: float, s_noise: float, noise_device: str) -> NodeResult:
    """Choose DPM++ 2M SDE in the midpoint's or Heun's form."""
    return _named_sampler("dpmpp_2m_sde_heun" if solver_type == "heun" else "dpmpp_2m_sde", eta=eta, s_noise=s_noise)


@node("SamplerDPMPP_3M_SDE")
def sampler_dpmpp_3m_sde(context: Context, eta: float, s_noise: float, noise_device: str) -> NodeResult:
    """Choose DPM++ 3M SDE with its amounts of noise."""
    return _named_sampler("dpmpp_3m_sde", eta=eta, s_noise=s_noise)


@node("SamplerDPMPP_SDE")
def sampler_dpmpp_sde(context: Context, eta: float, s_noise: float, r: float, noise_device: str) -> NodeResult:
    """Choose DPM++ SDE with its amounts of noise and the place of its look inside each step."""
    return _named_sampler("dpmpp_sde", eta=eta, s_noise=s_noise, r=r or 0.5)


@node("SamplerDPMPP_2S_Ancestral")
def sampler_dpmpp_2s(context: Context, eta: float, s_noise: float) -> NodeResult:
    """Choose DPM++ 2S ancestral with its amounts of noise."""
    return _named_sampler("dpmpp_2s_ancestral", eta=eta, s_noise=s_noise)


@node("SamplerDPMAdaptative")
def sampler_dpm_adaptive(context: Context, **_: Any) -> NodeResult:
    """Choose DPM-Solver-3 over the given levels: nothing is adapted."""
    return _named_sampler("dpm_adaptive")


@node("SamplerLMS")
def sampler_lms(context: Context, order: int) -> NodeResult:
    """Choose linear multistep with a number of slopes."""
    return _named_sampler("lms", order=order)


@node("SamplerLCM")
def sampler_lcm(context: Context, **_: Any) -> NodeResult:
    """Choose LCM; how its noise is scaled and cut changes nothing here."""
    return _named_sampler("lcm")


@node("SamplerER_SDE")
def sampler_er_sde(context: Context, solver_type: str, max_stage: int, eta: float, s_noise: float) -> NodeResult:
    """Choose ER-SDE-Solver-3 with its amount of noise; none for the ordinary equation."""
    without = solver_type == "ODE" or (solver_type == "Reverse-time SDE" and eta == 0)
    return _named_sampler("er_sde", s_noise=0.0 if without else s_noise)


@node("SamplerSASolver")
def sampler_sa_solver(context: Context, eta: float, s_noise: float, **_: Any) -> NodeResult:
    """Choose the substitute for SA-Solver with its amounts of noise."""
    return _named_sampler("sa_solver", eta=eta, s_noise=s_noise)


@node("SamplerSEEDS2")
def sampler_seeds_2(context: Context, solver_type: str, eta: float, s_noise: float, r: float) -> NodeResult:
    """Choose SEEDS-2 with its amounts of noise and the place of its look inside each step."""
    return _named_sampler("seeds_2", eta=eta, s_noise=s_noise, r=r or 0.5)
