//! The node agent: `deploy` in the boot ramdisk, `serve` on the installed system; `restore` by hand.
//!
//! Knows how to look at a server, how to talk to its controller and how to carry out what it is told.
//! Refuses to decide anything: which disk, which image and when are in the task; facts go up, intent comes down.
//!
//! [`adopt`] puts it onto a server that runs a system of its own.
//!
//! Shared by both lives: [`controller`] (TLS and calls), [`keys`], [`clock`], [`tool`] (child processes), [`sys`]
//! (the kernel's calls that have no safe form), [`inventory`], [`leave`] (a seed in its place), [`text`], [`preflight`] (the network
//! between nodes), [`tpm`].

pub mod adopt;
pub mod chain;
pub mod clock;
pub mod command;
pub mod controller;
pub mod deploy;
pub mod inventory;
pub mod keys;
mod leave;
pub mod preflight;
pub mod restore;
pub mod screen;
pub mod serve;
pub mod sys;
pub mod text;
pub mod tool;
pub mod tpm;
