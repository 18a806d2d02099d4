//! image-build
fn main() {}
