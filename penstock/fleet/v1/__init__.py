"""Made by scripts/generate from protos/penstock/fleet/v1."""
