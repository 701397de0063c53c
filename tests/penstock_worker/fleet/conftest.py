"""A model that scripted replicas serve."""

import pytest
from fakes.scripted_replica import GOOD, ScriptedReplica

from penstock_shared.directory import ModelSpec, SamplingDefaults


@pytest.fixture
def spec() -> ModelSpec:
    """What `ScriptedReplica` loads."""
    return ModelSpec(
        name="tiny",
        revision=GOOD.revision,
        tokenizer_fingerprint=GOOD.tokenizer_fingerprint,
        template_fingerprint="",
        context_length=128,
        eos_token_ids=(1,),
        sampling_defaults=SamplingDefaults(),
        vocab_size=256,
        tokenizer_path="/models/tiny",
    )


@pytest.fixture
async def scripted() -> ScriptedReplica:
    """A replica that does well unless told otherwise."""
    return ScriptedReplica()
