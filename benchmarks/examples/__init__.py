"""Short programs that use dsabench in a training loop of one's own."""
