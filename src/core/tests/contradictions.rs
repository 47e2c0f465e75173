//! Where witnesses contradict each other.
