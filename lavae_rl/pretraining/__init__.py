"""Training: recipes, the loop, what each recipe adds."""
