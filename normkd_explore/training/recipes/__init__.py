"""What decides a run's numbers: recipes, the presets they come from, the learning rate's schedule."""
