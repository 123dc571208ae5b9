"""What is done in the hour when there is a GPU: `make gpu`."""
