//! A whole disk: its partition table, the volumes in it, and which of its bytes an image must have.
