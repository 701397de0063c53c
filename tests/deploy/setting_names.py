"""Which environment variables each service reads."""

from penstock_cache.settings import CacheSettings
from penstock_gateway.settings import GatewaySettings
from penstock_shared.settings import ServiceSettings
from penstock_tokenizer.settings import TokenizerSettings
from penstock_worker.node.settings import NodeSettings
from penstock_worker.settings import WorkerSettings

# By the name of the service in the deployments, which is its image's too.
SETTINGS: dict[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "cache": CacheSettings,
    "tokenizer": TokenizerSettings,
    "fleet": WorkerSettings,
    "worker": NodeSettings,
}


def variables_of(service: str) -> set[str]:
    """All that may be set."""
    settings_class = SETTINGS[service]
    prefix = settings_class.model_config["env_prefix"]
    return {
        str(field.validation_alias or f"{prefix}{name}".upper()) for name, field in settings_class.model_fields.items()
    }
