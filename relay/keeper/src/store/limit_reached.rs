//! What is said when the stores of a folder have reached their limit.

use disk_limit::{DiskLimit, MEBIBYTE};

/// The stores of a folder have reached their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stores in this folder have {}M of the {limit} that --max-disk allows, and need {}M: start the keeper with a larger one",
    used.div_ceil(MEBIBYTE),
    needed.div_ceil(MEBIBYTE)
)]
pub struct LimitReached {
    /// What --max-disk allows, or the default.
    pub limit: DiskLimit,
    /// In bytes. What the stores take.
    pub used: u64,
    /// In bytes. What they would take after the next step by which the database grows.
    pub needed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reached_limit_says_what_is_needed() {
        let reached = LimitReached {
            limit: DiskLimit::new(512 * MEBIBYTE),
            used: 300 * MEBIBYTE,
            needed: 600 * MEBIBYTE + 1,
        };
        let text = reached.to_string();
        assert!(text.contains("have 300M of the 512M"), "{text}");
        assert!(text.contains("need 601M"), "{text}");
    }
}
