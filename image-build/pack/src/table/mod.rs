//! Partition tables: GPT (UEFI specification 2.10, chapter 5) and MBR with logical partitions.

mod gpt;
mod mbr;
