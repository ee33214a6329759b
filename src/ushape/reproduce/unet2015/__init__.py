"""U-Net 2015 on its own task, membranes in electron micrographs (Ronneberger et al. 2015, arXiv:1505.04597).

stack  ->  tiles (borders: weights, deform: where pixels come from)  ->  loop  ->  overlap (rotations)  ->
scores (thinning)  ->  results
"""
