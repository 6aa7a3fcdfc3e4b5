"""What can be chosen on the page: models that are here, and published ones that are downloaded when a visitor asks."""
