//! Stage *run*: the installed agent under a real systemd, in a container, with a controller made for the purpose.

mod container;
mod controller;
mod documents;
mod inside;
mod killed;
mod staged;
