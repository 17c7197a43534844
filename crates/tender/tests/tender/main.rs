//! The tender as a person runs it: whole images in the binary `mnet-tender`.

mod elf;
mod guest;
mod hosted;
mod options;
mod spt;
mod tap;
mod user;
