//! Recipes in; boot ramdisk, node images and the controller's root file system out. The program
//! `image-build` is this library with a command line.

pub mod archive;
pub mod cache;
pub mod cli;
pub mod controller;
pub mod cpio;
pub mod elf;
pub mod files;
pub mod mirror;
pub mod modules;
pub mod progress;
pub mod ramdisk;
pub mod recipe;
pub mod system;
pub mod toolbox;
pub mod tools;
pub mod verbs;
pub mod workshop;
