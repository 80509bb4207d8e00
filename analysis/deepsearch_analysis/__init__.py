"""Reads the HDF5 of DeepSearch for HPC runs (reader) and draws them (report)."""

from deepsearch_analysis.codes import RunError
from deepsearch_analysis.reader import Part, Run, Table
from deepsearch_analysis.trees import Tree

__all__ = ["Part", "Run", "RunError", "Table", "Tree"]
