"""Provide p4 and p4m group-convolution networks in plain torch; the layers are in `zoo_gconv.layers`."""
