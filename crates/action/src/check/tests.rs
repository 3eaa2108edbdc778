//! Planted defects and what is said of them.
