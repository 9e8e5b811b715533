"""Semantic segmentation: scenes, augmentation, training and whole-image evaluation, without mmcv."""
