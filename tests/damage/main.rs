//! Stored bytes go bad: by chance, object by object, and by somebody who holds the keys and lies.
//!
//! Whatever the damage, a pull gives the right bytes or an error after a right beginning. `matrix` says,
//! for each kind of object and each harm, what verify tells, what still restores, whether the next push
//! works and what repair mends; `hostile` forges objects whose seals are valid.
//!
//! **What is absent on purpose:** parsers fed with random bytes; those tests are beside the parsers.

mod forge;
mod hostile;
mod matrix;
#[path = "../paper/mod.rs"]
mod paper;
mod specimen;
