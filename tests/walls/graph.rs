//! A directed graph of files, and the circles in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Which file names which, and where. Files are keyed by a path that a reader can open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    arrows: BTreeMap<String, BTreeMap<String, BTreeSet<Mention>>>,
}

/// One place in a file that names something of another file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mention {
    /// The number of the line, from 1.
    pub(crate) line: usize,
    /// What is written there, such as `super::Thing`.
    pub(crate) text: String,
}

impl Graph {
    /// Adds an arrow. A file that names its own items is not an arrow.
    pub(crate) fn add(&mut self, from: &str, to: &str, mention: Mention) {
        if from != to {
            self.arrows
                .entry(from.to_owned())
                .or_default()
                .entry(to.to_owned())
                .or_default()
                .insert(mention);
        }
    }

    /// Returns every arrow as (from, to), sorted.
    pub(crate) fn arrows(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arrows
            .iter()
            .flat_map(|(from, targets)| targets.keys().map(|to| (from.as_str(), to.as_str())))
    }

    /// Returns circles, shortest first, none of which shares an arrow with one before: a single wrong arrow can close
    /// many circles, and is worth one report. Each begins at its first file in alphabetic order, and does not repeat it
    /// at the end.
    pub(crate) fn circles(&self) -> BTreeSet<Vec<&str>> {
        let mut circles: Vec<Vec<&str>> = self
            .arrows()
            .filter_map(|(from, to)| {
                let mut circle = self.way(to, from)?;
                let first = (0..circle.len()).min_by_key(|at| circle[*at])?;
                circle.rotate_left(first);
                Some(circle)
            })
            .collect();
        circles.sort_by_key(|circle| (circle.len(), circle.clone()));
        let mut reported = BTreeSet::new();
        circles.retain(|circle| {
            let next = circle.iter().cycle().skip(1);
            let arrows: Vec<_> = circle.iter().copied().zip(next.copied()).collect();
            let is_new = !arrows.iter().any(|arrow| reported.contains(arrow));
            if is_new {
                reported.extend(arrows);
            }
            is_new
        });
        circles.into_iter().collect()
    }

    /// Describes each arrow of a circle on a line of its own.
    pub(crate) fn describe(&self, circle: &[&str]) -> String {
        let mut text = format!("a circle of {} files", circle.len());
        for (at, from) in circle.iter().enumerate() {
            let to = circle[(at + 1) % circle.len()];
            text.push_str("\n  ");
            text.push_str(&self.describe_arrow(from, to));
        }
        text
    }

    /// Writes one line: the file, the lines that name the other file, and what they name.
    pub(crate) fn describe_arrow(&self, from: &str, to: &str) -> String {
        let mentions = self.arrows.get(from).and_then(|targets| targets.get(to));
        let places: Vec<_> = mentions
            .into_iter()
            .flatten()
            .map(|mention| format!("{}: {}", mention.line, mention.text))
            .collect();
        format!("{from} names {to} (line {})", places.join(", "))
    }

    /// A shortest way along the arrows, with both ends.
    fn way<'a>(&'a self, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(file) = open.pop_front() {
            if file == to {
                let mut way = vec![to];
                while let Some(file) = way.last().filter(|file| **file != from) {
                    way.push(came_from[file]);
                }
                way.reverse();
                return Some(way);
            }
            for next in self.arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
                if next != from && !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, file);
                    open.push_back(next);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(arrows: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (line, (from, to)) in arrows.iter().enumerate() {
            let text = format!("{to}::X");
            graph.add(
                from,
                to,
                Mention {
                    line: line + 1,
                    text,
                },
            );
        }
        graph
    }

    #[test]
    fn tree_of_files_has_no_circle() {
        let graph = graph(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "d")]);
        assert!(graph.circles().is_empty());
    }

    #[test]
    fn circle_of_two_is_found_once() {
        let graph = graph(&[("b", "a"), ("a", "b"), ("b", "c")]);
        assert_eq!(graph.circles(), BTreeSet::from([vec!["a", "b"]]));
    }

    #[test]
    fn circle_of_three_keeps_its_order() {
        let graph = graph(&[("c", "a"), ("b", "c"), ("a", "b"), ("a", "d")]);
        assert_eq!(graph.circles(), BTreeSet::from([vec!["a", "b", "c"]]));
        assert_eq!(
            graph.describe(&["a", "b", "c"]),
            "a circle of 3 files\n  a names b (line 3: b::X)\n  b names c (line 2: c::X)\n  \
             c names a (line 1: a::X)"
        );
    }

    #[test]
    fn one_wrong_arrow_is_reported_once() {
        let graph = graph(&[("a", "b"), ("b", "c"), ("a", "d"), ("d", "c"), ("c", "a")]);
        assert_eq!(graph.circles(), BTreeSet::from([vec!["a", "b", "c"]]));
    }

    #[test]
    fn two_circles_through_one_file_are_found() {
        let graph = graph(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]);
        assert_eq!(
            graph.circles(),
            BTreeSet::from([vec!["a", "b"], vec!["b", "c"]])
        );
    }
}
