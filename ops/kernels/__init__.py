"""The operators of the papers, one file each."""
