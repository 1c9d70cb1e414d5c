"""From predictions to numbers: areas, intervals, equivariance, the scalar probe."""
