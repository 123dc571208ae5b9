"""What a run is: specs, configurations, and the plan that fills in every default."""
