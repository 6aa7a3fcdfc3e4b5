"""Looking into a model: what it attends to, what it finds alike, what it costs. Functions return data; callers draw."""
