//! What was acknowledged survives, on a real disk.

mod full;
mod kill;
mod lease;
mod power;
mod process;
mod recording;
mod store;
mod turns;
mod work;
