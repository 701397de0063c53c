"""Made by scripts/generate from protos/penstock/admin/v1."""
