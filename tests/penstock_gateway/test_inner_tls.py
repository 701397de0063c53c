"""The gateway among services that want to see its certificate."""

from pathlib import Path
from typing import Any

from fakes.certificates import Authority
from fakes.gateway_deployment import StartDeployment
from fakes.scripted_cache import ScriptedCache

from penstock_shared.tls import ReloadingCertificates, TlsFiles


async def test_every_connection_of_the_gateway_speaks_tls(start: StartDeployment, tmp_path: Path) -> None:
    """Fleet, tokenizer, cache and replica each refuse plaintext; an answer needs all four."""
    authority = Authority(tmp_path)
    server, own = authority.issue("services"), authority.issue("gateway")
    certificates = ReloadingCertificates(TlsFiles(server.cert_file, server.key_file, authority.ca_file))
    cache = ScriptedCache(certificates)
    await cache.start()
    files: dict[str, Any] = {"cert": own.cert_file, "key": own.key_file, "ca": authority.ca_file}
    deployment = await start(
        certificates=certificates,
        cache_address=cache.address,
        cache_budget_s=10.0,
        **{f"inner_tls_{name}_file": path for name, path in files.items()},
    )
    answer = await deployment.complete("Hi", sampling={"temperature": 0.0})
    assert answer.choices[0].output.text == "Hello, world"
    await cache.until_kept(1)
    assert len(cache.lookups) == 1
    await cache.stop()
