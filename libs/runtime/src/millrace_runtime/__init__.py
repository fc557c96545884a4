"""What every Millrace process shares: settings, life cycle, health, errors, logs, metrics, access."""
