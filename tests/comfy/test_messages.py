"""What the server says, read; what it refuses, as our errors. Against recordings of a real ComfyUI."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryla_gen.comfy import errors as errors_map
from ryla_gen.comfy.errors import HttpAnswer, node_error, submit_error
from ryla_gen.comfy.messages import (
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    Features,
    Idle,
    ImageFrame,
    NodeExecuted,
    NodeExecuting,
    NodeProgress,
    PreviewImage,
    QueueStatus,
    clean,
    messages_from_history,
    parse,
    parse_binary,
    parse_text,
)
from ryla_gen.errors import (
    BackendUnreachableError,
    FaceNotFoundError,
    GpuOutOfMemoryError,
    InvalidInputError,
    LoraNotFoundError,
    ModelNotFoundError,
    NodeFailedError,
    NotAuthorizedError,
    ServerUnhealthyError,
    WorkflowInvalidError,
)

from .stub_server import ANSWERS, JPEG, REST, RUNS


def read(run):
    return [parse(item["type"], item["data"]) for item in RUNS[run] if "type" in item]


def answered(name):
    recorded = ANSWERS[name]
    body = recorded["body"]
    raw = body if isinstance(body, str) else json.dumps(body)
    return HttpAnswer(recorded["status"], raw.encode(), recorded["content_type"].split(";")[0])


def refused(name):
    return submit_error(answered(name), "http://pod")


def refusal_of(node_errors, error=None):
    body = {
        "error": error or {"type": "prompt_outputs_failed_validation", "message": "", "details": ""},
        "node_errors": node_errors,
    }
    return submit_error(HttpAnswer(400, json.dumps(body).encode(), "application/json"), "http://pod")


def not_in_list(input_name, value, config, class_type="CheckpointLoaderSimple"):
    extra = {"input_name": input_name, "input_config": config, "received_value": value}
    error = {"type": "value_not_in_list", "message": "Value not in list", "details": "", "extra_info": extra}
    return {"4": {"errors": [error], "class_type": class_type, "dependent_outputs": ["9"]}}


class TestTextFrames:
    def test_a_recorded_run_reads_in_its_order(self):
        kinds = [type(message) for message in read("image") if message is not None]
        assert kinds == [
            *(
                QueueStatus,
                Features,
                QueueStatus,
                QueueStatus,
                ExecutionStart,
                ExecutionCached,
                NodeExecuting,
                NodeProgress,
                NodeProgress,
            ),
            *(NodeExecuting, NodeExecuting, NodeExecuted, ExecutionSuccess, QueueStatus, Idle),
        ]

    def test_values_are_those_of_the_recording(self):
        start, cached, executing, progress = [message for message in read("image") if message is not None][4:8]
        assert start.at == 1795188812.880
        assert cached.nodes == ("1", "2", "3", "4", "6", "5", "11")
        assert executing.node == "7"
        assert (progress.node, progress.value, progress.maximum) == ("7", 1, 2)

    def test_executed_carries_the_files(self):
        executed = next(message for message in read("cached") if isinstance(message, NodeExecuted))
        assert executed.output == {"images": [{"filename": "triv_00007_.png", "subfolder": "", "type": "output"}]}

    def test_an_expanded_node_is_shown_as_the_node_of_the_submitted_graph(self):
        assert parse("executing", {"prompt_id": "p", "node": "5.0.0.2", "display_node": "5"}) == NodeExecuting("p", "5")

    def test_executing_without_a_prompt_id_says_nothing(self):
        assert parse("executing", {"node": "7"}) is None
        assert parse("executing", {"node": None}) is None

    def test_an_error_keeps_what_is_needed_and_no_tensors(self):
        error = next(message for message in read("out_of_memory") if isinstance(message, ExecutionError))
        assert (error.node_id, error.node_type, error.exception_type) == ("4", "LabFail", "torch.OutOfMemoryError")
        assert error.traceback[0].startswith("File")
        assert all(len(value) <= 200 for value in error.current_inputs.values())

    def test_an_exception_without_a_message_has_an_empty_one(self):
        error = next(message for message in read("no_message") if isinstance(message, ExecutionError))
        assert error.exception_message == ""

    @pytest.mark.parametrize(
        "frame",
        [
            "",
            "nonsense",
            "[]",
            "null",
            "[" * 100_000,
            '{"type": "progress"}',
            '{"type": "progress", "data": {"prompt_id": "p", "node": "1", "value": "much", "max": 2}}',
            '{"type": "progress", "data": {"prompt_id": "p", "node": {}, "value": 1, "max": 2}}',
            '{"type": "progress", "data": {"prompt_id": ["p"], "node": "1", "value": 1, "max": 2}}',
            '{"type": "status", "data": {"status": null}}',
            '{"type": "execution_cached", "data": {"prompt_id": "p", "nodes": 7}}',
            '{"type": "crystools.monitor", "data": {"cpu": 1}}',
        ],
    )
    def test_what_does_not_fit_is_dropped(self, frame):
        assert parse_text(frame) is None

    @given(st.text())
    def test_no_text_raises(self, text):
        parse_text(text)

    @given(
        st.sampled_from([item["type"] for item in RUNS["image"] + RUNS["out_of_memory"] + RUNS["interrupted"] if "type" in item]),
        st.dictionaries(
            st.sampled_from(
                ["prompt_id", "node", "nodes", "value", "max", "output", "timestamp", "status", "traceback", "current_inputs"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda s: st.lists(s) | st.dictionaries(st.text(), s),
            ),
        ),
    )
    def test_no_data_raises(self, kind, data):
        parse_text(json.dumps({"type": kind, "data": {**data, "prompt_id": data.get("prompt_id", "p")}}))


class TestBinaryFrames:
    def recorded(self, run):
        return next(base64.b64decode(item["binary"]) for item in RUNS[run] if item.get("binary"))

    def test_a_picture_with_metadata_names_its_prompt_and_node(self):
        frame = parse_binary(self.recorded("frame"), "another", "1")
        assert isinstance(frame, ImageFrame)
        assert (frame.prompt_id, frame.node, frame.media_type) == ("ea1bbe84-b70a-437f-afaf-6e7c8d141381", "3", "image/png")
        assert frame.data.startswith(b"\x89PNG")

    def test_a_picture_of_the_old_dialect_belongs_to_what_runs(self):
        frame = parse_binary(self.recorded("frame_old_dialect"), "p", "3")
        assert (frame.prompt_id, frame.node, frame.media_type) == ("p", "3", "image/png")
        assert frame.data.startswith(b"\x89PNG")

    def test_a_jpeg_is_a_preview_in_both_dialects(self):
        head = json.dumps({"node_id": "7", "prompt_id": "p", "image_type": "image/jpeg"}).encode()
        new = b"\0\0\0\4" + len(head).to_bytes(4, "big") + head + JPEG
        old = b"\0\0\0\1\0\0\0\1" + JPEG
        assert parse_binary(new, "", "") == parse_binary(old, "p", "7") == PreviewImage("p", "7", "image/jpeg", JPEG)

    def test_an_old_picture_while_nothing_runs_is_dropped(self):
        assert parse_binary(b"\0\0\0\1\0\0\0\1" + JPEG, "", "") is None

    @given(
        st.binary() | st.binary().map(lambda tail: b"\0\0\0\4" + tail) | st.binary().map(lambda tail: b"\0\0\0\4\0\0\0\2" + tail)
    )
    def test_no_bytes_raise(self, frame):
        parse_binary(frame, "p", "1")

    @pytest.mark.parametrize(
        "head", [b"[]", b"7", b"null", b'{"prompt_id": 7, "node_id": "1"}', b'{"prompt_id": "p"}', b"\xff\xfe"]
    )
    def test_broken_metadata_is_dropped(self, head):
        assert parse_binary(b"\0\0\0\4" + len(head).to_bytes(4, "big") + head + JPEG, "p", "1") is None


class TestHistory:
    def test_it_gives_the_outputs_and_the_end(self):
        start, executed, end = messages_from_history("mine", REST["history"]["image"])
        assert (start, end) == (ExecutionStart("mine", 1795188809.988), ExecutionSuccess("mine", 1795188812.655))
        assert executed == NodeExecuted(
            "mine", "9", {"images": [{"filename": "flux_00006_.png", "subfolder": "", "type": "output"}]}, "9"
        )

    def test_an_error_and_an_interruption_come_back(self):
        assert isinstance(messages_from_history("p", REST["history"]["out_of_memory"])[-1], ExecutionError)
        assert isinstance(messages_from_history("p", REST["history"]["interrupted"])[-1], ExecutionInterrupted)

    @pytest.mark.parametrize(
        "entry", [{}, {"status": None, "outputs": []}, {"status": {"messages": [7, ["x"], [1, {}]]}, "outputs": {"9": 1}}]
    )
    def test_a_broken_entry_still_ends(self, entry):
        assert messages_from_history("p", entry) == [ExecutionSuccess("p")]

    def test_an_entry_that_only_says_it_failed_is_a_failure(self):
        assert messages_from_history("p", {"status": {"completed": False, "status_str": "error"}}) == [ExecutionError("p")]


class TestRefusals:
    def test_a_missing_model_names_the_closest_file(self):
        config = [["flux1-dev-fp8.safetensors", "sd_xl_base_1.0.safetensors"], {}]
        error = refusal_of(not_in_list("ckpt_name", "flux1-dev-fp16.safetensors", config))
        assert isinstance(error, ModelNotFoundError) and not isinstance(error, LoraNotFoundError)
        assert error.details["file"] == "flux1-dev-fp16.safetensors"
        assert error.details["folder"] == "checkpoints"
        assert error.details["available"] == config[0]
        assert "flux1-dev-fp8.safetensors" in error.hint

    def test_the_recorded_missing_model(self):
        error = refused("value_not_in_list_model")
        assert type(error) is ModelNotFoundError
        assert (error.details["folder"], error.details["class_type"]) == ("diffusion_models", "UNETLoader")
        assert "flux1-dev.safetensors" in error.details["available"]

    def test_a_missing_lora_in_the_new_enum_dialect(self):
        config = ["COMBO", {"options": ["anna/1234.safetensors"]}]
        error = refusal_of(not_in_list("lora_name", "anna/1235.safetensors", config, "LoraLoader"))
        assert type(error) is LoraNotFoundError
        assert "anna/1234.safetensors" in error.hint

    def test_a_weights_file_of_an_unknown_loader_is_still_a_missing_model(self):
        error = refusal_of(not_in_list("model", "seedvr2_ema_3b_fp16.safetensors", None, "SeedVR2LoadDiTModel"))
        assert type(error) is ModelNotFoundError
        assert error.details["folder"] == ""

    def test_a_wrong_sampler_is_no_missing_model(self):
        error = refused("value_not_in_list_sampler")
        assert type(error) is WorkflowInvalidError
        assert error.details["input"] == "sampler_name"
        assert "node 7 (KSampler)" in error.message

    def test_an_unknown_class_is_named_with_what_to_do(self):
        error = refused("unknown_class_type")
        assert type(error) is WorkflowInvalidError
        assert error.details["class_type"] == "NoSuchNode" and error.details["node_id"] == "1"
        assert "NoSuchNode" in error.hint

    def test_an_unknown_class_in_the_newer_form(self):
        extra = {"node_id": "12", "class_type": "ApplyPulidFlux", "node_title": "x"}
        error = refusal_of({}, {"type": "missing_node_type", "message": "Node 'x' not found.", "details": "", "extra_info": extra})
        assert error.details["class_type"] == "ApplyPulidFlux" and error.details["node_id"] == "12"

    def test_a_missing_model_is_told_before_other_faults(self):
        wrong = {"type": "value_smaller_than_min", "message": "small", "details": "", "extra_info": {"input_name": "width"}}
        errors = {
            "1": {"errors": [wrong], "class_type": "EmptyImage"},
            **not_in_list("vae_name", "x.safetensors", [[], {}], "VAELoader"),
        }
        error = refusal_of(errors)
        assert type(error) is ModelNotFoundError and "empty" in error.hint

    @pytest.mark.parametrize("name", sorted(name for name, answer in ANSWERS.items() if answer["status"] == 400))
    def test_every_recorded_refusal_is_a_typed_error_with_a_message(self, name):
        error = refused(name)
        assert isinstance(error, WorkflowInvalidError | ModelNotFoundError)
        assert len(error.message) > 25 and error.hint
        json.dumps(error.to_data())

    @pytest.mark.parametrize("name", ["invalid_json", "prompt_null", "ui_format_workflow"])
    def test_a_500_in_plain_text_hints_at_the_api_format(self, name):
        error = refused(name)
        assert type(error) is WorkflowInvalidError and "Export (API)" in error.hint

    def test_too_large_a_body_is_invalid_input(self):
        assert type(refused("body_over_100MB")) is InvalidInputError

    def test_a_partly_valid_200_is_read_as_a_refusal(self):
        error = errors_map.refusal(ANSWERS["partially_valid_200"]["body"])
        assert type(error) is WorkflowInvalidError and error.details["node_id"] == "7"

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (401, NotAuthorizedError),
            (403, NotAuthorizedError),
            (302, BackendUnreachableError),
            (404, BackendUnreachableError),
            (502, BackendUnreachableError),
            (500, ServerUnhealthyError),
        ],
    )
    def test_other_statuses(self, status, kind):
        assert type(submit_error(HttpAnswer(status, b"<html>", "text/html"), "http://pod")) is kind

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda s: st.lists(s) | st.dictionaries(st.sampled_from(["1", "errors", "extra_info", "type", "input_name"]), s),
        )
    )
    def test_no_body_raises(self, node_errors):
        assert refusal_of(node_errors).message


class TestNodeErrors:
    def error_of(self, run):
        return node_error(next(message for message in read(run) if isinstance(message, ExecutionError)))

    def test_out_of_gpu_memory(self):
        error = self.error_of("out_of_memory")
        assert type(error) is GpuOutOfMemoryError
        assert error.details == {"node_id": "4", "class_type": "LabFail", "input": "", "exception_type": "torch.OutOfMemoryError"}

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            ("torch.cuda.OutOfMemoryError", ""),
            ("RuntimeError", "CUDA error: out of memory"),
            ("RuntimeError", "Allocation on device 0 failed"),
        ],
    )
    def test_out_of_gpu_memory_in_other_words(self, kind, said):
        error = node_error(ExecutionError("p", node_id="1", node_type="KSampler", exception_type=kind, exception_message=said))
        assert type(error) is GpuOutOfMemoryError

    @pytest.mark.parametrize(
        "said", ["Reference Image: No face detected.", "no faces were found", "InsightFace: No face detected in the image"]
    )
    def test_no_face(self, said):
        error = node_error(
            ExecutionError("p", node_id="1", node_type="ApplyInstantID", exception_type="Exception", exception_message=said)
        )
        assert type(error) is FaceNotFoundError

    def test_any_other_exception_names_node_class_and_message(self):
        error = self.error_of("value_error")
        assert type(error) is NodeFailedError
        assert error.message == "Node 4 (LabFail) failed: ValueError: lab says no"

    def test_an_exception_without_a_message(self):
        error = self.error_of("no_message")
        assert type(error) is NodeFailedError
        assert error.message == "Node 4 (LabFail) failed: MemoryError"


class TestCleaning:
    def test_escapes_and_controls_go(self):
        assert clean("\x1b[31mred\x1b[0m \x1b]0;title\x07ok\x00\x08!\x9b \u202egnp\r\nnext") == "red ok  !   gnp\nnext"

    def test_length_is_bounded(self):
        assert len(clean("x" * 10_000_000, 100)) == 100

    @given(st.text())
    def test_nothing_but_printable_text_and_line_feeds_remains(self, text):
        assert not any((ord(character) < 32 and character != "\n") or 127 <= ord(character) < 160 for character in clean(text))

    def test_server_text_cannot_write_to_a_terminal_through_an_error(self):
        error = node_error(
            parse("execution_error", {"prompt_id": "p", "node_id": "1", "node_type": "\x1b[2JX", "exception_message": "\x1b[31mno"})
        )
        assert "\x1b" not in str(error) and "X" in error.message
