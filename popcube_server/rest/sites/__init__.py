"""What sites of one organisation ask of each other, on a listener that only they reach."""
