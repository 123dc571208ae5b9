"""The tidy table, and what is computed from its rows."""
