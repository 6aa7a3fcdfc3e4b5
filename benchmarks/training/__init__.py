"""What the trainer costs, and models that scripts of their own train."""
