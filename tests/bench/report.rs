//! The table that a benchmark prints.

use std::fmt::Write as _;

/// The median; of an even number of figures the upper one of the middle two.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The table's rows, in the order in which they were measured.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<[String; 5]>,
}

impl Report {
    /// Adds a row that compares a measurement with a baseline, both medians of `runs` in `unit`.
    pub fn pair(
        &mut self,
        what: &str,
        baseline: &str,
        ours: f64,
        baseline_figure: f64,
        unit: &str,
        runs: usize,
    ) {
        self.push([
            what.to_owned(),
            format!("{ours:.1} {unit}"),
            format!("{baseline}: {baseline_figure:.1} {unit}"),
            format!("{:.2}", ours / baseline_figure),
            runs.to_string(),
        ]);
    }

    /// Adds a row and prints it at once, because later measurements may take long or fail.
    fn push(&mut self, row: [String; 5]) {
        #[cfg(not(target_arch = "wasm32"))]
        eprintln!("| {} |", row.join(" | "));
        self.rows.push(row);
    }

    /// Adds a row without a baseline.
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
