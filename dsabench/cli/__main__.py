"""`python -m dsabench.cli`."""

from dsabench.cli import main

main()
