//! The partition table of the master boot record, and the chain of logical partitions.
