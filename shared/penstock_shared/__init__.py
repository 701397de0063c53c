"""What every Penstock service shares: errors, settings, servers, channels, tracing, logs. It knows no service."""
