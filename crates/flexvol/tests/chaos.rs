//! Random operations against a model: whatever happens, the agent comes to what the manifests say, loses no data, and
//! leaves nothing behind.
//!
//! `CHAOS_OPERATIONS` and `CHAOS_SEED` in the environment choose how much and which; `cargo xtask chaos` sets them. A seed
//! repeats the operations; what the machine does between them it does not repeat.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod chaos_world;
mod node;

use chaos_world::World;
use node::in_namespaces;

/// As many as every run of the tests has time for.
const OPERATIONS: u32 = 500;
/// How many operations lie between two looks at everything.
const BETWEEN_CHECKS: u32 = 25;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn chaos_comes_to_rest() {
    if !in_namespaces("chaos_comes_to_rest") {
        return;
    }
    let operations = number("CHAOS_OPERATIONS", OPERATIONS.into());
    let seed = number("CHAOS_SEED", 1);
    let mut world = World::new(seed);
    for operation in 1..=operations {
        world.act();
        if operation % u64::from(BETWEEN_CHECKS) == 0 {
            world.check();
        }
    }
    world.end();
    eprintln!("chaos: seed {seed}: {operations} operations; {}", world.figures());
}
