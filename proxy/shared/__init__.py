"""What several gates share in one Redis or Valkey, where that is configured: counts of rate limits, known answers."""
