"""Ways to run cells: here, and by plugins on clusters."""
