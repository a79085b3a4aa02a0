//! The table that a benchmark prints.

use std::fmt::Write as _;

/// The middle of some figures.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Rows as they come.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<[String; 5]>,
}

impl Report {
    /// What was measured beside its yardstick, both in `unit`, medians of `runs`.
    pub fn pair(
        &mut self,
        what: &str,
        yardstick: &str,
        ours: f64,
        bare: f64,
        unit: &str,
        runs: usize,
    ) {
        self.push([
            what.to_owned(),
            format!("{ours:.1} {unit}"),
            format!("{yardstick}: {bare:.1} {unit}"),
            format!("{:.2}", ours / bare),
            runs.to_string(),
        ]);
    }

    /// Shows it at once, too: what comes after it may take long, or fail.
    fn push(&mut self, row: [String; 5]) {
        #[cfg(not(target_arch = "wasm32"))]
        eprintln!("| {} |", row.join(" | "));
        self.rows.push(row);
    }

    /// A figure without a yardstick.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn single(&mut self, what: &str, figure: &str, runs: usize) {
        self.push([
            what.to_owned(),
            figure.to_owned(),
            String::new(),
            String::new(),
            runs.to_string(),
        ]);
    }

    /// The table, as Markdown.
    pub fn table(&self) -> String {
        let mut table =
            String::from("| what | median | beside | ratio | runs |\n|---|---|---|---|---|\n");
        for row in &self.rows {
            let _ = writeln!(table, "| {} |", row.join(" | "));
        }
        table
    }
}
