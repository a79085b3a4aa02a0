//! Attacks that were found by reviewing the machine. Each test states what holds in spite of the attack.

mod bandwidth;
mod bodies;
mod bounds;
mod clocks;
mod confirmation;
mod durability;
mod journal;
mod random;
mod responses;
mod rounds;
mod store;
