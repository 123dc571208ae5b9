"""Where runs are worked on: here, or side by side in processes of their own."""
