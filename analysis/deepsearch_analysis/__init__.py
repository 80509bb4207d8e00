"""Reads the HDF5 of DeepSearch for HPC runs (reader) and draws them (report)."""

from deepsearch_analysis.reader import Part, Run, RunError, Table, Tree

__all__ = ["Part", "Run", "RunError", "Table", "Tree"]
