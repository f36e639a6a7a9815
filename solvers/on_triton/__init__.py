"""Triton texts: functions of one number that kernels call, and what launches generated kernels."""
