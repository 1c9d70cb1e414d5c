"""Inference on files: read them one by one, bring them to the training images' form, and classify in batches."""
