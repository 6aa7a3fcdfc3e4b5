"""Networks of other packages behind our contract."""
