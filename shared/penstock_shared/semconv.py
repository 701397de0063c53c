"""Names of span attributes and metrics: OpenTelemetry's GenAI and RPC conventions (in development), and ours."""

from typing import Final

# RPC
RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS_CODE: Final = "rpc.status_code"
SERVER_ADDRESS: Final = "server.address"

# GenAI, requests
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_P: Final = "gen_ai.request.top_p"
GEN_AI_REQUEST_TOP_K: Final = "gen_ai.request.top_k"
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
GEN_AI_REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"

# GenAI, answers
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
ERROR_TYPE: Final = "error.type"

# Ours
PENSTOCK_TENANT: Final = "penstock.tenant"
PENSTOCK_REPLICA: Final = "penstock.replica"
PENSTOCK_ROUTING_REASON: Final = "penstock.routing_reason"
PENSTOCK_CACHE_OUTCOME: Final = "penstock.cache.outcome"
PENSTOCK_CACHE_REASON: Final = "penstock.cache.reason"
PENSTOCK_CACHE_MAX_ERROR_RATE: Final = "penstock.cache.max_error_rate"
PENSTOCK_CACHE_SCORE: Final = "penstock.cache.score"
PENSTOCK_CACHE_SIMILARITY: Final = "penstock.cache.similarity"
PENSTOCK_CACHE_ERROR_BOUND: Final = "penstock.cache.error_bound"
PENSTOCK_JOINED_REQUEST: Final = "penstock.joined.request_id"
PENSTOCK_NUM_PREEMPTIONS: Final = "penstock.num_preemptions"
PENSTOCK_NUM_RESUMED: Final = "penstock.num_resumed"

# Metrics, with the bucket bounds that the conventions advise; seconds
METRIC_TIME_TO_FIRST_TOKEN: Final = "gen_ai.server.time_to_first_token"  # noqa: S105 - no password
METRIC_TIME_PER_OUTPUT_TOKEN: Final = "gen_ai.server.time_per_output_token"  # noqa: S105 - no password
METRIC_REQUEST_DURATION: Final = "gen_ai.server.request.duration"
TIME_TO_FIRST_TOKEN_BOUNDS_S: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
TIME_PER_OUTPUT_TOKEN_BOUNDS_S: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
REQUEST_DURATION_BOUNDS_S: Final = tuple(0.01 * 2**exponent for exponent in range(14))

GRPC: Final = "grpc"
PROVIDER: Final = "penstock"
OPERATION_CHAT: Final = "chat"
OPERATION_TEXT_COMPLETION: Final = "text_completion"
OPERATION_EMBEDDINGS: Final = "embeddings"
