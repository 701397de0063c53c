"""Made by scripts/generate from protos/penstock/worker/v1."""
