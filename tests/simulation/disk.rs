//! Faults of one peer's simulated disk, and how long its jobs take.

/// What can go wrong with a disk, apart from a crash, which drops the jobs in progress.
#[derive(Debug, Default)]
pub(crate) struct DiskFaults {
    /// Whether the disk never corrupts bodies when the peer starts.
    pub(crate) never_corrupts: bool,
    /// The disk is full until this time, so every write fails.
    pub(crate) full_until: u64,
    /// When the database was last deleted while the peer was running.
    pub(crate) emptied_at: Option<u64>,
    busy_until: u64,
}

impl DiskFaults {
    /// The disk accepts a job that takes `duration` ms; returns when it will be done. Jobs run one after another.
    pub(crate) fn schedule_job(&mut self, now: u64, duration: u64) -> u64 {
        self.busy_until = self.busy_until.max(now) + duration;
        self.busy_until
    }

    /// Power loss: no job is in progress.
    pub(crate) const fn crash(&mut self) {
        self.busy_until = 0;
    }
}
