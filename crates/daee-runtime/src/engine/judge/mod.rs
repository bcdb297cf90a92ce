//! What others say of the engine as it is configured here: the specification's own tests.

mod script;
mod spec;
