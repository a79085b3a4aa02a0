//! How long tests wait.

use std::time::Duration;

/// Default timeout: many times what an idle machine needs, because two tests, their browsers and a compiler may share
/// two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
