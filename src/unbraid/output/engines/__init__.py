"""Where the recordings of a batch are separated: in this process, in processes of their own, or on a Ray cluster."""
