"""What strangers' code writes is made fit to be shown: secrets by their form, by what stands before them, and by their value."""

from __future__ import annotations

import pytest

from ryla_gen.support.log_text import LONGEST_LINE, LONGEST_REST, LogText, mask_secrets, secret_values

HEX = "0123456789abcdef0123456789abcdef"
"""The form of a token of Civitai: nothing but what stands before it tells that it is one."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hf_" + "aB3" * 10, "[secret]"),
        ("token as-" + "x1" * 11 + " of ak-" + "y2" * 11, "token [secret] of [secret]"),
        ("rpa_" + "ABC123" * 4, "[secret]"),
        ("cloning https://me:pw@host.invalid/pack.git", "cloning https://[secret]@host.invalid/pack.git"),
        ("git+https://x-token@github.com/a/b", "git+https://[secret]@github.com/a/b"),
        (f"GET https://civitai.com/api/download/models/1?type=Model&token={HEX}", "type=Model&token=[secret]"),
        (
            "https://bucket.invalid/f?X-Amz-Credential=AB%2F1&X-Amz-Signature=00ff",
            "X-Amz-Credential=[secret]&X-Amz-Signature=[secret]",
        ),
        ("Authorization: Bearer abc", "Authorization: [secret]"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz', 'Accept': '*/*'}", "{'Authorization': '[secret]', 'Accept': '*/*'}"),
        ("sent bearer 0123456789", "sent bearer [secret]"),
        (f"CIVITAI_TOKEN={HEX}", "CIVITAI_TOKEN=[secret]"),
        (f"environ({{'CIVITAI_API_KEY': '{HEX}', 'HOME': '/root'}})", "'CIVITAI_API_KEY': '[secret]', 'HOME': '/root'"),
        (f"using api_key={HEX} now", "using api_key=[secret] now"),
        (f'"access_token": "{HEX}"', '"access_token": "[secret]"'),
        ("ghp_" + "a" * 36 + ", sk-" + "b" * 40, "[secret], [secret]"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert shown in mask_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=77, tokens: 12345678, seed=123456789012",
        "as-needed, ask-me, sk-learn, as-internationalization",
        "lora key not loaded: lora_unet_down_blocks_0.alpha",
        "https://huggingface.co/@scope/model?download=true",
        "mail to me@host.invalid, token: <unk>, keys: 16",
        "Total VRAM 45498 MB, total RAM 128000 MB",
        '  File "/root/comfy/ComfyUI/nodes.py", line 7, in secret_sauce',
    ],
)
def test_ordinary_lines_are_left_alone(text: str) -> None:
    assert mask_secrets(text) == text


def test_the_values_of_secret_variables_are_masked_whatever_their_form() -> None:
    env = {"CIVITAI_TOKEN": HEX, "COMFYUI_PASSWORD": "correct horse", "MODAL_TOKEN_ID": "short", "MONKEY": "bananabanana"}
    values = secret_values(env)
    assert values == (HEX, "correct horse")
    assert mask_secrets(f"{HEX} / correct horse / bananabanana", values) == "[secret] / [secret] / bananabanana"


def test_a_secret_in_pieces_or_with_colours_in_it_is_masked_all_the_same() -> None:
    text = LogText()
    token = "hf_" + "aB3" * 10
    assert text.add(f"\x1b[32m[INFO]\x1b[0m {token[:9]}") == []
    assert text.add(f"\x1b[1m{token[9:]}\x1b[0m\nnext") == ["[INFO] [secret]"]
    assert text.end() == ["next"]
    assert text.end() == []


def test_lines_are_whole_and_a_progress_bar_is_what_it_says_last() -> None:
    text = LogText()
    assert text.add("one\r\ntwo\n\n  \n 10%|#  \r 90%|## \r100%|###\n") == ["one", "two", "100%|###"]
    assert text.add("x" * (LONGEST_LINE + 5) + "\n") == ["x" * LONGEST_LINE + "…"]
    (cut,) = text.add("y" * (LONGEST_REST + 1))
    assert cut.startswith("yyy")
    assert text.end() == []
