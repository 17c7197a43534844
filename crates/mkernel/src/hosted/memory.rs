//! Heap and stack: a Linux process has its own.

/// Linux puts a guard page below each stack.
pub(crate) fn check_stack() {}
