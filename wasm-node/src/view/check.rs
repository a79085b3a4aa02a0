//! The result of `check()` for JavaScript. Contains conversions only; `crate::check` verifies.

use serde::Serialize;

use crate::{
    check::{Check, CheckedReading, Comparison},
    hex_text::hex,
};

/// The result of `check()`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CheckView {
    pub(crate) ok: bool,
    pub(crate) hash: Computed<String>,
    pub(crate) work: WorkView,
    pub(crate) link: LinkView,
    pub(crate) root: Computed<String>,
    pub(crate) difficulty: DifficultyView,
    pub(crate) time: TimeView,
    pub(crate) readings: Vec<CheckedReadingView>,
}

/// Whether a claimed value is right, and the computed one.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Computed<T> {
    pub(crate) ok: bool,
    pub(crate) computed: T,
}

/// The value of `check().work`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorkView {
    pub(crate) ok: bool,
    pub(crate) target: Option<String>,
    pub(crate) hash: String,
}

/// The value of `check().link`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LinkView {
    pub(crate) ok: bool,
    pub(crate) expected: Option<String>,
}

/// The value of `check().difficulty`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DifficultyView {
    pub(crate) ok: bool,
    pub(crate) expected: Option<u32>,
}

/// The value of `check().time`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TimeView {
    pub(crate) ok: bool,
    pub(crate) after: Option<u64>,
}

/// An element of `check().readings`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CheckedReadingView {
    pub(crate) id: String,
    pub(crate) ok: bool,
    pub(crate) computed_id: String,
    pub(crate) signature: bool,
    pub(crate) reason: Option<String>,
}

impl From<&Check> for CheckView {
    fn from(check: &Check) -> Self {
        let Check {
            hash,
            work,
            link,
            root,
            difficulty,
            time,
            readings,
            count_ok: _,
        } = check;
        Self {
            ok: check.ok(),
            hash: hash.into(),
            work: WorkView {
                ok: work.ok,
                target: work.computed.map(|target| target.to_string()),
                hash: hash.computed.to_string(),
            },
            link: LinkView {
                ok: link.ok,
                expected: link.computed.map(|hash| hash.to_string()),
            },
            root: root.into(),
            difficulty: DifficultyView {
                ok: difficulty.ok,
                expected: difficulty
                    .computed
                    .map(heartchain_chain::work::CompactTarget::to_bits),
            },
            time: TimeView {
                ok: time.ok,
                after: time.computed.map(heartchain_chain::time::UnixMillis::get),
            },
            readings: readings.iter().map(CheckedReadingView::from).collect(),
        }
    }
}

impl<T: ToString> From<&Comparison<T>> for Computed<String> {
    fn from(comparison: &Comparison<T>) -> Self {
        Self {
            ok: comparison.ok,
            computed: comparison.computed.to_string(),
        }
    }
}

impl From<&CheckedReading> for CheckedReadingView {
    fn from(checked: &CheckedReading) -> Self {
        Self {
            id: hex(checked.claimed.as_bytes()),
            ok: checked.ok(),
            computed_id: hex(checked.computed.as_bytes()),
            signature: checked.is_signed(),
            reason: checked.verified.err().map(|error| error.to_string()),
        }
    }
}
