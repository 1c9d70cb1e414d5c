"""The Roman Strong Lens Data Challenge: its files as a data set, and its submissions."""
