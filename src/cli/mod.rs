//! The commands, as typed at a terminal: what is read, what is printed, with which exit status.

pub mod parse;
