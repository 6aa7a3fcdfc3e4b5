"""Published models: which there are, and how they come from the hub, an address or a folder, verified."""
