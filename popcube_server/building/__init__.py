"""The composition root, in parts: one file per area, each a plain function that builds the area's objects."""
