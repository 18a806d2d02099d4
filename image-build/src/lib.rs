//! Recipes in; boot ramdisk, node images, the controller's root file system and the ISO out. The program
//! `image-build` is this library with a command line.

pub mod archive;
pub mod cache;
pub mod capture;
pub mod catalog;
pub mod cli;
pub mod container;
pub mod controller;
pub mod cpio;
pub mod disk;
pub mod elf;
pub mod export;
mod fat;
pub mod files;
pub mod grub;
mod guest;
pub mod import;
pub mod iso;
pub mod keys;
pub mod layout;
pub mod lint;
pub mod mirror;
pub mod modules;
pub mod node;
pub mod progress;
pub mod ramdisk;
pub mod recipe;
pub mod stream;
pub mod system;
pub mod tarball;
pub mod toolbox;
pub mod tools;
pub mod verbs;
pub mod workshop;
