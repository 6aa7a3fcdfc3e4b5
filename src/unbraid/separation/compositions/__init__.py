"""Several models as one: ensembles of models, and chains in which a model separates the stem of another."""
