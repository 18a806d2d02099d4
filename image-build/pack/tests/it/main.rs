//! Tests that need the kernel or tools of a Linux system. They run as root.

mod disk;
