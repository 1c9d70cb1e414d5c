"""Baselines that fit themselves: what a network has to beat to have learnt more than they see."""
