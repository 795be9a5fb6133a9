"""How each trainer names the tensors of a LoRA, the base model that they tell, and whether ComfyUI 0.28.2 loads them.

The verdicts are ComfyUI's own: every row was put through its conversion and its loader, with the names of the real model's layers,
and what its log calls ``lora key not loaded`` is recorded here. A file of two verdicts is two rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from .files import KOHYA, PEFT, Shapes, layers

OLD_DIFFUSERS = ("_lora.down.weight", "_lora.up.weight")
DIFFUSERS = (".lora.down.weight", ".lora.up.weight")
DIFFSYNTH = (".lora_A.default.weight", ".lora_B.default.weight")
LOHA = (".hada_w1_b", ".hada_w1_a", ".hada_w2_b", ".hada_w2_a", ".alpha")


@dataclass(frozen=True)
class Row:
    """One file of one trainer."""

    base: str | None
    tool: str
    tensors: Shapes
    loaded: bool
    """Whether ComfyUI loads all of its tensors, or none."""
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.base} {self.variant} {self.tool}"


def row(
    base: str | None,
    tool: str,
    names: str,
    ends: tuple[str, ...],
    wide: int,
    loaded: bool = True,
    variant: str = "",
    writes: int = 8,
) -> Row:
    """A file with these layers, each of which reads ``wide`` and writes ``writes``."""
    shapes = layers(names.split(), wide, *ends[:3]) | {
        f"{name}{end}": (wide, 1) if end.endswith("_a") else (1, wide)
        for name in names.split()
        for end in ends[3:]
        if end != ".alpha"
    }
    shapes |= {f"{name}{ends[1]}": (writes, 1) for name in names.split()}
    return Row(base, tool, shapes, loaded, variant)


def lokr(base: str, tool: str, names: str, wide: int, loaded: bool = True, variant: str = "") -> Row:
    """LyCORIS' Kronecker products, whose widths multiply to the layer's."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names.split():
        shapes |= {f"{name}.lokr_w1": (16, 16), f"{name}.lokr_w2_a": (wide // 16, 4), f"{name}.lokr_w2_b": (4, wide // 16)}
        shapes |= {f"{name}.alpha": ()}
    return Row(base, tool, shapes, loaded, variant)


def parts(base: str, tool: str, names: str, loaded: bool = True, variant: str = "", wide: int = 0) -> Row:
    """Tensors under their whole names."""
    return Row(base, tool, dict.fromkeys(names.split(), (wide, wide) if wide else (1,)), loaded, variant)


FLUX = (
    row("flux", "sd-scripts", "lora_unet_double_blocks_0_img_attn_qkv lora_unet_single_blocks_37_linear1", KOHYA, 3072),
    row(
        "flux",
        "sd-scripts, modulation",
        "lora_unet_double_blocks_3_txt_mod_lin lora_unet_single_blocks_3_modulation_lin",
        KOHYA,
        3072,
    ),
    row("flux", "sd-scripts, ends", "lora_unet_vector_in_in_layer lora_unet_guidance_in_out_layer", KOHYA, 3072),
    row(
        "flux",
        "PEFT",
        "transformer.single_transformer_blocks.3.attn.to_q transformer.transformer_blocks.0.attn.add_k_proj",
        PEFT,
        3072,
    ),
    row(
        "flux",
        "PEFT, double blocks only",
        "transformer.transformer_blocks.18.attn.to_q transformer.transformer_blocks.0.ff.net.2",
        PEFT,
        3072,
    ),
    row(
        "flux",
        "ai-toolkit",
        "transformer.single_transformer_blocks.0.proj_mlp transformer.transformer_blocks.0.norm1.linear",
        PEFT,
        3072,
    ),
    row("flux", "ai-toolkit, ComfyUI's names", "diffusion_model.double_blocks.0.img_attn.qkv", PEFT, 3072),
    lokr(
        "flux", "SimpleTuner LyCORIS", "lycoris_single_transformer_blocks_0_attn_to_q lycoris_transformer_blocks_7_attn_to_k", 3072
    ),
    row("flux", "OneTrainer", "lora_transformer_single_transformer_blocks_0_attn_to_q", KOHYA, 3072),
    row("flux", "DiffSynth", "single_transformer_blocks.0.attn.to_q transformer_blocks.0.attn.to_out.0", PEFT, 3072),
    row("flux", "LoHa", "lora_unet_double_blocks_0_img_attn_qkv", LOHA, 3072),
    row("flux", "PEFT, FLUX' own names", "base_model.model.double_blocks.0.img_attn.qkv", PEFT, 3072, loaded=False),
    row("flux", "XLabs, a part", "double_blocks.0.processor.qkv_lora1", (".down.weight", ".up.weight"), 3072, loaded=False),
    row(
        "flux",
        "XLabs",
        "double_blocks.18.processor.qkv_lora2 double_blocks.0.processor.proj_lora1 single_blocks.37.processor.qkv_lora "
        "single_blocks.0.processor.proj_lora",
        (".down.weight", ".up.weight"),
        3072,
    ),
    parts(
        "flux",
        "Black Forest Labs, depth and edges",
        "img_in.lora_A.weight img_in.lora_B.weight img_in.lora_B.bias single_blocks.0.norm.key_norm.scale "
        "double_blocks.0.img_attn.qkv.lora_A.weight double_blocks.0.img_attn.qkv.lora_B.weight",
        wide=64,
    ),
    parts("flux", "PEFT's DoRA vectors", "transformer.single_transformer_blocks.0.attn.to_q.lora_magnitude_vector", loaded=False),
)
FLUX2 = (
    row("flux2", "ai-toolkit, dev", "diffusion_model.double_blocks.0.img_attn.qkv", PEFT, 6144, variant="dev"),
    row("flux2", "ai-toolkit, klein 9B", "diffusion_model.single_blocks.23.linear1", PEFT, 4096, variant="klein 9B"),
    row("flux2", "ai-toolkit, klein 4B", "diffusion_model.single_blocks.19.linear1", PEFT, 3072, variant="klein 4B", writes=27648),
    row(
        "flux2",
        "ai-toolkit, klein 4B, attention only",
        " ".join(f"diffusion_model.double_blocks.{number}.{side}_attn.qkv" for number in range(5) for side in ("img", "txt")),
        PEFT,
        3072,
        variant="klein 4B",
    ),
    row(
        "flux2",
        "musubi-tuner, klein 4B",
        "lora_unet_double_blocks_0_img_attn_qkv lora_unet_double_stream_modulation_img_lin",
        KOHYA,
        3072,
        variant="klein 4B",
    ),
    row(
        "flux2",
        "musubi-tuner, dev",
        "lora_unet_single_blocks_47_linear2 lora_unet_single_blocks_40_linear1",
        KOHYA,
        6144,
        variant="dev",
    ),
    row(
        "flux2",
        "PEFT",
        "transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj transformer.transformer_blocks.0.attn.to_q",
        PEFT,
        4096,
        variant="klein 9B",
    ),
    row(
        "flux2",
        "PEFT, MLP",
        "transformer.transformer_blocks.0.ff.linear_in transformer.transformer_blocks.0.ff_context.linear_out",
        PEFT,
        64,
    ),
    row("flux2", "PEFT, modulation", "transformer.double_stream_modulation_img.linear", PEFT, 6144, loaded=False),
    lokr(
        "flux2",
        "SimpleTuner LyCORIS",
        "lycoris_single_transformer_blocks_0_attn_to_qkv_mlp_proj lycoris_transformer_blocks_0_attn_to_q",
        4096,
        variant="klein 9B",
    ),
    row("flux2", "OneTrainer", "lora_transformer_single_transformer_blocks_0_attn_to_out", KOHYA, 12288),
    row("flux2", "DiffSynth", "single_transformer_blocks.0.attn.to_qkv_mlp_proj", DIFFSYNTH, 3072, variant="klein 4B"),
)
SDXL = (
    row(
        "sdxl",
        "sd-scripts",
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k lora_unet_output_blocks_3_0_in_layers_2",
        KOHYA,
        2048,
    ),
    row(
        "sdxl",
        "sd-scripts, text encoders",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1 lora_te2_text_model_encoder_layers_0_mlp_fc1",
        KOHYA,
        1280,
    ),
    row(
        "sdxl",
        "OneTrainer",
        "lora_unet_down_blocks_2_attentions_1_transformer_blocks_9_attn2_to_k lora_unet_mid_block_resnets_0_conv1",
        KOHYA,
        2048,
    ),
    lokr("sdxl", "SimpleTuner LyCORIS", "lycoris_down_blocks_2_attentions_1_transformer_blocks_9_attn1_to_q", 1280),
    row(
        "sdxl",
        "diffusers before PEFT",
        "unet.up_blocks.0.attentions.0.transformer_blocks.4.attn2.processor.to_k",
        OLD_DIFFUSERS,
        2048,
    ),
    row("sdxl", "diffusers, MLP", "unet.down_blocks.2.attentions.1.transformer_blocks.9.ff.net.0.proj", DIFFUSERS, 1280),
    row(
        "sdxl",
        "diffusers, attention",
        "unet.down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k",
        DIFFUSERS,
        2048,
        loaded=False,
    ),
    row("sdxl", "PEFT, told by its width", "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v", PEFT, 2048, loaded=False),
    row(
        "sdxl",
        "PEFT, whole",
        "base_model.model.down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k",
        PEFT,
        2048,
        loaded=False,
    ),
)
WAN = (
    row(
        "wan",
        "ai-toolkit, 1.3B",
        "diffusion_model.blocks.0.self_attn.q diffusion_model.blocks.29.ffn.2",
        PEFT,
        1536,
        variant="1.3B",
    ),
    row("wan", "musubi-tuner, 14B", "lora_unet_blocks_39_cross_attn_k lora_unet_blocks_0_self_attn_o", KOHYA, 5120, variant="14B"),
    row(
        "wan",
        "lightx2v, 5B",
        "diffusion_model.blocks.0.cross_attn.v diffusion_model.text_embedding.0",
        KOHYA[:2],
        3072,
        variant="5B",
    ),
    parts(
        "wan",
        "lightx2v, norms and biases",
        "diffusion_model.blocks.0.self_attn.norm_q.diff diffusion_model.blocks.0.norm3.diff diffusion_model.blocks.0.ffn.0.diff_b "
        "diffusion_model.blocks.0.modulation.diff diffusion_model.head.head.diff_b",
    ),
    row("wan", "VideoX-Fun", "lora_unet__blocks_0_cross_attn_k lora_unet__blocks_0_ffn_0", KOHYA, 5120, variant="14B"),
    row("wan", "VideoX-Fun, a part", "lora_unet__blocks_1_cross_attn_k", KOHYA, 5120, loaded=False, variant="14B"),
    row(
        "wan",
        "an underscore taken for a dot",
        "diffusion_model.blocks.0.cross_attn.k.img",
        KOHYA,
        5120,
        loaded=False,
        variant="14B",
    ),
    row(
        "wan",
        "diffusers",
        "transformer.blocks.0.attn1.to_q transformer.blocks.0.ffn.net.2",
        PEFT,
        1536,
        loaded=False,
        variant="1.3B",
    ),
    row("wan", "DiffSynth", "blocks.0.self_attn.q blocks.0.ffn.0", DIFFSYNTH, 5120, loaded=False, variant="14B"),
    row("wan", "PEFT", "base_model.model.blocks.0.self_attn.q", PEFT, 5120, loaded=False, variant="14B"),
    lokr("wan", "SimpleTuner LyCORIS", "lycoris_blocks_0_attn1_to_q", 1536, loaded=False, variant="1.3B"),
    lokr("wan", "ai-toolkit LoKr", "diffusion_model.blocks.0.self_attn.q", 5120, variant="14B"),
)
WAN_IMAGE = (
    row(
        "wan",
        "musubi-tuner, Wan 2.1 i2v",
        "lora_unet_blocks_0_cross_attn_k_img lora_unet_blocks_0_cross_attn_v_img",
        KOHYA,
        5120,
        variant="14B",
    ),
    row("wan", "lightx2v, Wan 2.1 i2v", "diffusion_model.blocks.0.cross_attn.v_img", KOHYA[:2], 5120, variant="14B"),
    parts(
        "wan",
        "lightx2v, Wan 2.1 i2v, norms",
        "diffusion_model.blocks.0.cross_attn.norm_k_img.diff diffusion_model.blocks.0.cross_attn.k_img.diff_b",
    ),
)
"""Loaded into Wan 2.1's image-to-video models only: not into Wan 2.2's, not into text-to-video ones."""
Z_IMAGE = (
    row("z_image", "ai-toolkit", "diffusion_model.layers.0.attention.to_q diffusion_model.layers.29.feed_forward.w1", PEFT, 3840),
    row(
        "z_image",
        "ComfyUI's names",
        "diffusion_model.layers.0.attention.qkv diffusion_model.noise_refiner.1.attention.out",
        PEFT,
        3840,
    ),
    row("z_image", "PEFT", "transformer.layers.0.attention.to_out.0 transformer.context_refiner.0.attention.to_k", PEFT, 3840),
    row("z_image", "DiffSynth", "layers.0.attention.to_q layers.0.adaLN_modulation.0", DIFFSYNTH, 3840),
    row("z_image", "sd-scripts, ComfyUI's names", "lora_unet_layers_0_attention_qkv lora_unet_layers_0_attention_out", KOHYA, 3840),
    row(
        "z_image",
        "musubi-tuner",
        "lora_unet_layers_0_attention_to_q lora_unet_layers_0_attention_to_out_0",
        KOHYA,
        3840,
        loaded=False,
    ),
    row("z_image", "musubi-tuner, MLP", "lora_unet_layers_0_feed_forward_w1", KOHYA, 3840),
    lokr("z_image", "SimpleTuner LyCORIS", "lycoris_layers_0_attention_to_q lycoris_layers_0_attention_to_out_0", 3840),
    row("z_image", "OneTrainer, joined", "lora_transformer_layers_0_attention_to_q", KOHYA, 3840, loaded=False),
    row("z_image", "OneTrainer", "transformer.layers.0.attention.to_q transformer.layers.0.feed_forward.w2", KOHYA, 3840),
    row("z_image", "PEFT, whole", "base_model.model.layers.0.attention.to_q", PEFT, 3840, loaded=False),
)
QWEN = (
    row(
        "qwen",
        "ai-toolkit",
        "diffusion_model.transformer_blocks.0.attn.to_q diffusion_model.transformer_blocks.59.img_mlp.net.2",
        PEFT,
        3072,
    ),
    row("qwen", "musubi-tuner", "lora_unet_transformer_blocks_0_attn_to_q lora_unet_transformer_blocks_0_txt_mod_1", KOHYA, 3072),
    row(
        "qwen",
        "PEFT",
        "transformer.transformer_blocks.0.attn.add_k_proj transformer.transformer_blocks.0.txt_mlp.net.0.proj",
        PEFT,
        3072,
    ),
    row(
        "qwen",
        "PEFT, attention only",
        "transformer.transformer_blocks.0.attn.to_q transformer.transformer_blocks.59.attn.to_out.0",
        PEFT,
        3072,
    ),
    row("qwen", "DiffSynth", "transformer_blocks.0.attn.to_q transformer_blocks.59.attn.to_add_out", DIFFSYNTH, 3072),
    row("qwen", "Lightning", "transformer_blocks.0.attn.to_q transformer_blocks.0.img_mod.1", KOHYA, 3072),
    lokr(
        "qwen",
        "SimpleTuner LyCORIS",
        "lycoris_transformer_blocks_0_img_mlp_net_0_proj lycoris_transformer_blocks_0_attn_to_q",
        3072,
    ),
    row("qwen", "OneTrainer, joined", "lora_transformer_transformer_blocks_0_img_mlp_net_2", KOHYA, 3072, loaded=False),
    row("qwen", "PEFT, whole", "base_model.model.transformer_blocks.0.img_mod.1", PEFT, 3072, loaded=False),
)
SPELLINGS = (*FLUX, *FLUX2, *SDXL, *WAN, *Z_IMAGE, *QWEN)
"""Loaded, or not, into a model of the row's base; a Wan model here has no cross attention for a picture."""

OTHERS = (
    row("sd1", "sd-scripts", "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", KOHYA, 768, loaded=False),
    row("sd1", "PEFT, told by its width", "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v", PEFT, 768, loaded=False),
    row("sd3", "sd-scripts", "lora_unet_joint_blocks_0_x_block_attn_qkv", KOHYA, 1536, loaded=False),
    row(
        "sd3",
        "PEFT",
        "transformer.transformer_blocks.0.attn.to_q transformer.transformer_blocks.23.attn.add_k_proj",
        PEFT,
        1536,
        loaded=False,
    ),
    row("sd3", "PEFT, large", "transformer.transformer_blocks.37.attn.to_q", PEFT, 2432, loaded=False),
    row("lumina2", "sd-scripts", "lora_unet_layers_0_attention_qkv lora_unet_layers_25_feed_forward_w1", KOHYA, 2304, loaded=False),
    row("lumina2", "PEFT", "transformer.layers.0.attn.to_q", PEFT, 2304, loaded=False),
    row(
        "hunyuan",
        "musubi-tuner",
        "lora_unet_double_blocks_0_img_attn_qkv lora_unet_double_blocks_0_img_mlp_fc1",
        KOHYA,
        3072,
        loaded=False,
    ),
    row("hunyuan", "musubi-tuner, attention only", "lora_unet_double_blocks_19_img_attn_qkv", KOHYA, 3072, loaded=False),
    row("hunyuan", "diffusion-pipe", "transformer.double_blocks.0.img_attn_qkv", PEFT, 3072, loaded=False),
    row("hunyuan", "FramePack", "lora_unet_single_transformer_blocks_39_attn_to_q", KOHYA, 3072, loaded=False),
    row("hunyuan", "HunyuanImage", "diffusion_model.double_blocks.0.img_attn.qkv", PEFT, 3584, loaded=False),
    row(
        "krea2",
        "PEFT",
        "transformer.transformer_blocks.0.attn.to_q transformer.transformer_blocks.0.ff.gate",
        PEFT,
        6144,
        loaded=False,
    ),
    row("chroma", "ends", "diffusion_model.distilled_guidance_layer.layers.0.in_layer", PEFT, 64, loaded=False),
    row(None, "LTX-Video", "diffusion_model.transformer_blocks.0.attn2.to_k", PEFT, 2048, loaded=False),
    row(None, "Anima", "lora_unet_blocks_0_self_attn_q_proj", KOHYA, 2048, loaded=False),
    row(None, "a language model", "base_model.model.model.layers.0.self_attn.q_proj", PEFT, 4096, loaded=False),
)
"""Other models' LoRAs, which must not be taken for one of ours. What some of ours would load of them is not recorded."""
