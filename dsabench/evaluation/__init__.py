"""From encoders to features, and from features to values."""
