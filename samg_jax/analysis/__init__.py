"""What is made of the results: statistics and pictures."""
