"""DeepLense's lens populations: Model A and Model B."""
