#%Module1.0
# Installed as share/modulefiles/deepsearch/VERSION; finds the tree it lies in, which may be moved.
#   module use PREFIX/share/modulefiles && module load deepsearch
set prefix [file dirname [file dirname [file dirname [file dirname [file normalize $ModulesCurrentModulefile]]]]]

proc ModulesHelp { } {
    puts stderr "DeepSearch for HPC: Monte Carlo tree search inside reinforcement learning. deepsearch --help"
}
module-whatis "DeepSearch for HPC"
conflict deepsearch

# The modules the program was built with belong here, e.g.:
# depends-on openmpi/4.1 hdf5/1.10
prepend-path PATH $prefix/bin
setenv DEEPSEARCH_HOME $prefix/share/deepsearch
