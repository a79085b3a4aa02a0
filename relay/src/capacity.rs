//! How many tabs this computer can serve: from its memory, and from the number of files that the system allows.

use crate::limits::Limits;

/// Memory that the default reserves for each tab, in bytes: two connections of some 60 KiB, and its part of the tables.
const MEMORY_PER_TAB: u64 = 256 * 1024;
/// The default never exceeds this. An operator who wants more has measured, and says so.
const MAX_DEFAULT_TABS: u32 = 10_000;

/// The default of `--max-tabs`: half of the memory, and all of the open files, but at least
/// [`Limits::MIN_DEFAULT_TABS`].
#[must_use]
pub fn default_max_tabs() -> u32 {
    max_tabs_for(memory(), max_open_files())
}

fn max_tabs_for(memory: u64, files: u64) -> u32 {
    let by_memory = u32::try_from(memory / 2 / MEMORY_PER_TAB).unwrap_or(u32::MAX);
    let wanted = by_memory.min(tabs_with_files(files));
    wanted.clamp(Limits::MIN_DEFAULT_TABS, MAX_DEFAULT_TABS)
}

/// The most tabs that need no more than this number of files.
fn tabs_with_files(files: u64) -> u32 {
    let fits = |tabs: u32| Limits::for_tabs(tabs).files() <= files;
    let (mut fitting, mut too_many) = (1, Limits::MAX_TABS.saturating_add(1));
    while too_many.saturating_sub(fitting) > 1 {
        let middle = fitting.midpoint(too_many);
        if fits(middle) {
            fitting = middle;
        } else {
            too_many = middle;
        }
    }
    fitting
}

/// Memory of this computer or container, in bytes; 0 if the system does not tell.
fn memory() -> u64 {
    let Ok(mut system) = sysinfo::System::new() else {
        return 0;
    };
    system.refresh_memory();
    let container = system.cgroup_limits().map(|limits| limits.total_memory);
    let computer = system.total_memory();
    // A container without a limit reports 0 or the memory of the computer.
    container
        .filter(|bytes| *bytes > 0)
        .map_or(computer, |bytes| bytes.min(computer))
}

/// The system allows fewer open files than the tabs need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{max_tabs} tabs need {needed} open files, and the system allows {allowed}: raise the limit (ulimit -n {needed}, or LimitNOFILE={needed} in the systemd unit), or set --max-tabs {fitting}"
)]
pub struct TooFewFiles {
    max_tabs: usize,
    needed: u64,
    allowed: u64,
    fitting: u32,
}

impl TooFewFiles {
    fn check(limits: &Limits, allowed: u64) -> Result<(), Self> {
        let needed = limits.files();
        if allowed >= needed {
            return Ok(());
        }
        Err(Self {
            max_tabs: limits.reservations,
            needed,
            allowed,
            fitting: tabs_with_files(allowed),
        })
    }
}

/// Lets the process open as many files as `limits` need.
///
/// # Errors
/// Fails if the system does not allow it. The relay then still works, until it has no file left.
#[cfg(unix)]
pub fn raise_file_limit(limits: &Limits) -> Result<(), TooFewFiles> {
    let needed = limits.files();
    let soft = rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
    let allowed = if soft >= needed {
        soft
    } else {
        rlimit::increase_nofile_limit(needed).unwrap_or(soft)
    };
    TooFewFiles::check(limits, allowed)
}

/// Other systems have no such limit.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn raise_file_limit(_: &Limits) -> Result<(), TooFewFiles> {
    Ok(())
}

#[cfg(unix)]
fn max_open_files() -> u64 {
    rlimit::Resource::NOFILE.get_hard().unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn max_open_files() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn default_follows_memory_and_files() {
        assert_eq!(max_tabs_for(GIB / 4, 1_024), 1_000);
        assert_eq!(max_tabs_for(GIB, u64::MAX), 2_048);
        assert_eq!(max_tabs_for(1_000 * GIB, u64::MAX), 10_000);
        let few_files = max_tabs_for(1_000 * GIB, 10_000);
        assert!((1_001..10_000).contains(&few_files), "{few_files}");
        assert!(Limits::for_tabs(few_files).files() <= 10_000);
        assert!(Limits::for_tabs(few_files + 1).files() > 10_000);
    }

    #[test]
    fn too_few_files_are_reported_with_what_fits() {
        let limits = Limits::for_tabs(2_000);
        assert_eq!(TooFewFiles::check(&limits, limits.files()), Ok(()));
        let error = TooFewFiles::check(&limits, 4_096).expect_err("too few");
        let message = error.to_string();
        assert!(
            message.starts_with("2000 tabs need 6564 open files"),
            "{message}"
        );
        assert!(message.contains("--max-tabs 1240"), "{message}");
    }

    #[test]
    fn this_computer_has_memory() {
        assert!(memory() > 64 * 1024 * 1024);
    }
}
