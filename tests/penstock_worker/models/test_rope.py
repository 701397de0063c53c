"""Rotary frequencies are those of transformers."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from penstock_worker.models.rope import rope_frequencies, rotate, rotate_fixed
from penstock_worker.models.rope_config import LinearScaling, Llama3Scaling, RopeConfig, YarnScaling

_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


_YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}, RopeConfig(1e4, LinearScaling(4.0))),
        (
            _YARN,
            RopeConfig(
                1e6,
                YarnScaling(
                    factor=4.0,
                    beta_fast=32.0,
                    beta_slow=1.0,
                    original_context_length=32768,
                    is_truncated=True,
                    amplitude=1.1386,
                ),
            ),
        ),
        (
            _LLAMA3,
            RopeConfig(
                5e5,
                Llama3Scaling(
                    factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context_length=8192
                ),
            ),
        ),
    ],
)
def test_scaled_frequencies_equal_transformers(theirs: dict[str, object], ours: RopeConfig) -> None:
    """Long, medium and short wavelengths: at 128 dimensions all three kinds occur."""
    config = LlamaConfig(head_dim=128, rope_parameters=theirs)
    expected, _ = ROPE_INIT_FUNCTIONS[str(theirs["rope_type"])](config, torch.device("cpu"))
    torch.testing.assert_close(rope_frequencies(ours, 128), expected, rtol=1e-6, atol=0.0)


def test_plain_frequencies_are_powers_of_theta() -> None:
    """One radian a position for the first pair of dimensions, 1 / theta at the end of the scale."""
    assert rope_frequencies(RopeConfig(100.0), 4).tolist() == pytest.approx([1.0, 0.1])


def test_fixed_rotation_has_the_bits_of_a_row_alone_whatever_the_threads() -> None:
    """A thread's share may end within a row: a complex product rounds its last numbers otherwise."""
    x, angles = torch.randn(513, 12, 64), torch.rand(513, 1, 32) * 100
    rotations = torch.polar(torch.ones_like(angles), angles)
    alone, approximate = x.clone(), x.clone()
    for row in range(len(x)):
        rotate_fixed(alone[row : row + 1], rotations[row : row + 1])
    rotate(approximate, rotations)
    torch.testing.assert_close(alone, approximate)
    num_threads = torch.get_num_threads()
    try:
        for count in (1, 5, 7, 8):
            torch.set_num_threads(count)
            together = x.clone()
            rotate_fixed(together, rotations)
            assert torch.equal(together, alone)
    finally:
        torch.set_num_threads(num_threads)
