//! The tour as a program that loops.

fn main() {
    daee_agent::resident(tour::turn)
}
